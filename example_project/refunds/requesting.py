"""Asking for a refund, in one transaction with the job that settles it."""

from __future__ import annotations

from decimal import Decimal

from django.db import IntegrityError, transaction

from .jobs import settle_refund, tag_of
from .models import ONCE, Refund


class AskedBefore(Exception):
    """Somebody has asked for a refund of this order in other words; the message is meant for the customer."""


def request_refund(order: str, amount: Decimal, reason: str, email: str) -> tuple[Refund, bool]:
    """Store a refund and its job, or find the one that the same customer has asked for; return it, and if it is new.

    Raises AskedBefore when the order has another one.
    """
    try:
        with transaction.atomic():
            refund = Refund.objects.create(order=order, amount=amount, reason=reason, email=email)
            refund.job_id = settle_refund.using(tags=["refunds", tag_of(refund)]).enqueue(refund_id=refund.pk).id
            refund.save(update_fields=["job_id"])
            return refund, True
    except IntegrityError:
        known = Refund.objects.filter(order=order, state__in=ONCE).first()
        if known is None:
            raise
    if (known.email, known.amount) != (email, amount):
        raise AskedBefore("Somebody has asked for a refund of this order already.")
    return known, False
