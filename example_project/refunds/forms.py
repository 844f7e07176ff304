"""What customers and approvers fill in."""

from __future__ import annotations

from django import forms

from .deciding import LONGEST_NOTE, Decision


class RefundForm(forms.Form):
    """What a customer wants back, and why."""

    order = forms.RegexField(
        r"^[A-Za-z0-9-]{1,40}$",
        label="Order",
        help_text="As on the bill: letters, digits and hyphens.",
        error_messages={"invalid": "An order is written with letters, digits and hyphens only."},
    )
    amount = forms.DecimalField(label="Amount", min_value=0.01, max_digits=8, decimal_places=2)
    reason = forms.CharField(label="Reason", max_length=500)
    email = forms.EmailField(label="Your e-mail address", max_length=254)

    def clean_order(self) -> str:
        """One order is one, however it is typed."""
        return str(self.cleaned_data["order"]).upper()


class DecisionForm(forms.Form):
    """Yes or no, by the button that was pressed."""

    decision = forms.ChoiceField(
        choices=[("approve", "Approve"), ("reject", "Reject")],
        widget=forms.HiddenInput,
        error_messages={"required": "Approve it or reject it.", "invalid_choice": "Approve it or reject it."},
    )
    note = forms.CharField(label="Note to the customer", max_length=LONGEST_NOTE, required=False)

    def decided(self) -> Decision:
        """What was decided."""
        return Decision(self.cleaned_data["decision"] == "approve", self.cleaned_data["note"])
