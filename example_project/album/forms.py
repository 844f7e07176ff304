"""The one form of the album."""

from django import forms
from django.core.files.uploadedfile import UploadedFile

from .pictures import MAX_BYTES, MAX_PIXELS, BadPicture, facts_of


class PhotoForm(forms.Form):
    """A picture whose size and kind are right; whether all of it can be decoded is for the jobs to find out."""

    photo = forms.FileField(
        label="Photograph",
        max_length=255,
        widget=forms.ClearableFileInput(attrs={"accept": ".jpg,.jpeg,.png,image/jpeg,image/png"}),
        help_text=f"JPEG or PNG, at most {MAX_BYTES // 1024**2} MiB and {MAX_PIXELS // 1_000_000} million pixels.",
        error_messages={
            "required": "Choose a photograph first.",
            "empty": "The file is empty.",
            "max_length": "The file's name is longer than 255 characters.",
        },
    )
    title = forms.CharField(max_length=100, required=False, help_text="The file's name, if you leave it empty.")
    credit = forms.CharField(label="Author and rights", max_length=200, required=False)

    def clean_photo(self) -> UploadedFile:
        """Refuse what is no acceptable picture, and say why."""
        file: UploadedFile = self.cleaned_data["photo"]
        try:
            facts_of(file.read(MAX_BYTES + 1))
        except BadPicture as why:
            raise forms.ValidationError(str(why)) from None
        file.seek(0)
        return file
