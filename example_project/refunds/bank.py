"""A stand-in for the bank's service: as far as the job knows, this goes over the network and is in no transaction."""

from __future__ import annotations

from decimal import Decimal

from django.db.models import F

from .models import BankTransfer


def transfer(key: str, payee: str, amount: Decimal) -> str:
    """Give somebody money and return the reference; asked again with the same key, return the same reference."""
    made, _ = BankTransfer.objects.get_or_create(key=key, defaults={"payee": payee, "amount": amount})
    BankTransfer.objects.filter(pk=made.pk).update(times_asked=F("times_asked") + 1)
    return str(made)
