"""The one form of the welcome."""

from django import forms


class SignUpForm(forms.Form):
    """Who signs up."""

    name = forms.CharField(label="Name", max_length=100)
    email = forms.EmailField(label="E-mail address", max_length=254)

    def clean_email(self) -> str:
        """One address is one, however it is typed."""
        return str(self.cleaned_data["email"]).lower()
