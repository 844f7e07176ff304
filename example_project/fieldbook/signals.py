"""What follows from a change, whoever made it."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from .jobs import build_report
from .models import Import, ImportState


@receiver(post_save, sender=Import, dispatch_uid="fieldbook.report_when_imported")
def report_when_imported(instance: Import, **_: Any) -> None:
    """Ask for the report in the transaction that imported the last chunk: both are stored, or neither.

    Saving the import again asks for nothing more; the key sees to it.
    """
    if instance.state != ImportState.IMPORTED:
        return
    job = build_report.using(idempotency_key=f"report {instance.pk}", tags=[f"import {instance.pk}"]).enqueue(
        import_id=instance.pk
    )
    Import.objects.filter(pk=instance.pk).update(report_job_id=job.id)
