"""What a visitor has sent, and where to."""

from __future__ import annotations

from django import forms

from .addresses import LONGEST, BadAddress, host_of

MOST_EVENTS = 30


class SendForm(forms.Form):
    """An address, and how many events."""

    url = forms.CharField(
        label="Address", max_length=LONGEST, help_text="Of a public host, or of one of the receivers here."
    )
    events = forms.IntegerField(label="Events", min_value=1, max_value=MOST_EVENTS, initial=12)

    def clean_url(self) -> str:
        """Refuse what nothing is sent to, whatever it resolves to."""
        url = str(self.cleaned_data["url"])
        try:
            host_of(url)
        except BadAddress as why:
            raise forms.ValidationError(str(why)) from None
        return url
