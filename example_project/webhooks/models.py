"""Deliveries: an event, where it goes, and what came of it."""

from django.db import models


class Outcome(models.TextChoices):
    """What came of a delivery; only its job says so."""

    OPEN = "open", "not delivered yet"
    DELIVERED = "delivered", "delivered"
    REFUSED = "refused", "refused"


class Delivery(models.Model):
    """One event for one address. `body` is sent as it stands here, since its signature is over these very bytes."""

    url = models.CharField("address", max_length=500)
    host = models.CharField(max_length=255, db_index=True)
    body = models.TextField()
    outcome = models.CharField(max_length=20, choices=Outcome, default=Outcome.OPEN)
    answer = models.CharField(max_length=200, blank=True)
    times_put_off = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    job_id = models.BigIntegerField("job", null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"Delivery {self.pk}"
