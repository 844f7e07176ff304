"""Refunds, the ledger they end in, and the bank's own book."""

from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse


class RefundState(models.TextChoices):
    """How far a refund has come; only its job moves it on."""

    REQUESTED = "requested", "being looked at"
    ASKED = "asked", "waiting for a decision"
    REFUNDED = "refunded", "refunded"
    REJECTED = "rejected", "rejected"
    EXPIRED = "expired", "expired"


ONCE = (RefundState.REQUESTED, RefundState.ASKED, RefundState.REFUNDED)
"""The states of which an order has one refund at most; after a no, or no answer, one may ask again."""


class Refund(models.Model):
    """A customer wants the money of an order back.

    `token_id` names what the decision completes, once somebody was asked for it.
    """

    order = models.CharField("order", max_length=40)
    amount = models.DecimalField(max_digits=8, decimal_places=2, validators=[MinValueValidator(0)])
    reason = models.CharField(max_length=500)
    email = models.EmailField("customer")
    state = models.CharField(max_length=20, choices=RefundState, default=RefundState.REQUESTED)
    decided_by = models.CharField(max_length=255, blank=True)
    note = models.CharField("note of whoever decided", max_length=500, blank=True)
    created_at = models.DateTimeField("asked for", auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    job_id = models.BigIntegerField("job", null=True, blank=True)
    token_id = models.CharField("token", max_length=64, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("decide_refund", "Can approve and reject refunds")]
        constraints = [
            models.UniqueConstraint(fields=["order"], condition=models.Q(state__in=ONCE), name="refunds_order_once"),
        ]

    def __str__(self) -> str:
        return f"Refund {self.pk}"

    def get_absolute_url(self) -> str:
        """Return the address of the refund's page."""
        return reverse("refunds:refund", args=[self.pk])


class LedgerEntry(models.Model):
    """Money that was given back. Written with the completion of the refund's job, so there is one.

    No constraint says so: nothing here would notice a second one, so that the demo's check can.
    """

    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, related_name="ledger_entries")
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    transfer = models.CharField("reference of the bank", max_length=40)
    booked_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.amount} for {self.refund}"


class BankTransfer(models.Model):
    """A line in the book of the bank, which is somebody else's service (`bank.py`); it honours idempotency keys."""

    key = models.CharField(max_length=64, unique=True)
    payee = models.EmailField()
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    times_asked = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"TR-{self.pk:06}"
