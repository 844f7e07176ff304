"""Models that exist for the tests only."""

from __future__ import annotations

from django.db import models


class BusinessRow(models.Model):
    """What a project of its own would write in the same transaction as a job."""

    note = models.CharField(max_length=200)
    job_id = models.BigIntegerField(null=True)

    def __str__(self) -> str:
        return self.note


class Order(models.Model):
    """What the shop of the documentation's samples sells."""

    email = models.EmailField(default="ada@example.com")
    invoiced = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"order {self.pk}"
