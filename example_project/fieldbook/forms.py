"""The one form of the site."""

from django import forms
from django.core.files.uploadedfile import UploadedFile

from .reading import MAX_BYTES, BadFile, check_file


class UploadForm(forms.Form):
    """A CSV file whose size, encoding and header are right; its rows are for the job to judge."""

    file = forms.FileField(
        label="CSV file",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
        help_text=f"UTF-8, with a header line, at most {MAX_BYTES // 1024**2} MiB.",
        error_messages={"required": "Choose a CSV file first.", "empty": "The file is empty."},
    )

    def clean_file(self) -> UploadedFile:
        """Refuse a file that could not be imported at all, and say why."""
        file: UploadedFile = self.cleaned_data["file"]
        try:
            check_file(file.read(MAX_BYTES + 1))
        except BadFile as why:
            raise forms.ValidationError(str(why)) from None
        file.seek(0)
        return file
