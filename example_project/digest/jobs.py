"""The digest of a day, which a schedule asks for every night.

The declaration below is all there is: workers store it when they start, and any of them adds the job at two o'clock in
the site's own time zone. While a digest has not been written, another one is not asked for (`overlap="skip"`); of
nights without a worker the last one is made up for (`catch_up="latest"`). Both are the defaults, and are said for
whoever reads this.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.files.base import ContentFile
from django.template.loader import render_to_string
from django.utils import timezone

from dataqueue_django import JobContext, job
from example_project.album.storages import whole_files
from example_project.pace import slow_motion

from .days import Day
from .names import SCHEDULE, TAG, file_name
from .numbers import STATUSES, numbers_of


@job(
    SCHEDULE,
    cron="0 2 * * *",
    timezone=settings.TIME_ZONE,
    catch_up="latest",
    overlap="skip",
    takes_context=True,
    max_attempts=5,
    retry_delay=60,
    tags=[TAG],
)
def write_digest(ctx: JobContext) -> dict[str, Any]:
    """Write the numbers of a day to a file: of the day that has ended by night, of today so far if asked by hand.

    The night's date is that of the tick, not of the clock: a job that was late, or runs again, is about the same day.
    Its file has the same name then and is replaced as a whole.
    """
    zone, tick = ZoneInfo(settings.TIME_ZONE), ctx.job.scheduled_for
    day = Day.so_far(timezone.now(), zone) if tick is None else Day.before(tick, zone)
    ctx.set_progress(0, f"Counting {day.date:%-d %B %Y}")
    slow_motion(ctx)
    numbers = numbers_of(day)
    text = render_to_string(
        "digest/document.html",
        {"day": day, "numbers": numbers, "statuses": STATUSES, "zone": settings.TIME_ZONE},
    )
    name = whole_files().save(file_name(day, ctx.job.id), ContentFile(text.encode()))
    return {"file": name, "date": day.date.isoformat(), **numbers.in_short()}
