"""What whoever pauses the digest says."""

from django import forms


class PauseForm(forms.Form):
    """Why; nobody has to say."""

    reason = forms.CharField(label="Reason", max_length=200, required=False)
