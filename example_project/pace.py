"""Slow motion, so that a visitor can watch a step, and a check can kill a worker in the middle of one."""

from __future__ import annotations

from django.conf import settings

from dataqueue_django import JobContext


def slow_motion(ctx: JobContext) -> None:
    """Take as long as the settings say; a worker that has to stop does not wait for this job."""
    if settings.FIELDBOOK_STEP_SECONDS:
        ctx.signal.wait(settings.FIELDBOOK_STEP_SECONDS)
    ctx.signal.raise_if_aborted()
