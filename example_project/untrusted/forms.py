"""The two forms. They only look at sizes: what is inside is tried by a job, never while a visitor waits."""

from django import forms
from django.core.files.uploadedfile import UploadedFile

MAX_SCAN_BYTES = 10 * 1024 * 1024

WITHOUT_END = r"^(\w+\s?)*$"
r"""Words with spaces between. As `\s?` may be nothing, a word of n letters can be split in 2ⁿ⁻¹ ways."""

SENTENCE = "The airports of Alaska are far from everywhere!"
"""All of them are tried because of the last character."""


class ScanForm(forms.Form):
    """A scanned plan."""

    scan = forms.FileField(
        label="Scan",
        max_length=255,
        widget=forms.ClearableFileInput(attrs={"accept": ".png,image/png"}),
        help_text=f"PNG, at most {MAX_SCAN_BYTES // 1024**2} MiB, of any number of pixels.",
        error_messages={"required": "Choose a scan first.", "empty": "The file is empty."},
    )

    def clean_scan(self) -> UploadedFile:
        """Refuse what is too large."""
        file: UploadedFile = self.cleaned_data["scan"]
        if (file.size or 0) > MAX_SCAN_BYTES:
            raise forms.ValidationError(f"The file is larger than {MAX_SCAN_BYTES // 1024**2} MiB, which is the limit.")
        return file


class PatternForm(forms.Form):
    """A regular expression and a text to try it on; at first two that have no end together."""

    pattern = forms.CharField(label="Regular expression", max_length=200, strip=False, initial=WITHOUT_END)
    text = forms.CharField(
        label="Text",
        max_length=200,
        strip=False,
        initial=SENTENCE,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Without its exclamation mark the sentence is found at once.",
    )
