"""The welcome of one person: a week of letters in one loop.

    pick an airport ── write "welcome" ══ 2 days ══ pick ── write "tips" ══ 5 days ══ pick ── write "survey"

Between the letters the job waits without a worker. When it goes on, the loop runs from its top, and finds each letter
that was written, and each airport that was drawn for one, as they were.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings

from dataqueue_django import JobContext, job
from example_project.fieldbook.models import Airport
from example_project.pace import slow_motion
from example_project.post.models import site_link, write

from . import links
from .lessons import LESSONS, Lesson
from .models import Person


@job(takes_context=True, max_attempts=5, retry_delay=1, give_up_on=Person.DoesNotExist)
def welcome(ctx: JobContext, person_id: int) -> dict[str, Any]:
    """Write somebody all letters, or those until they unsubscribe."""
    person = Person.objects.get(pk=person_id)
    for lesson in LESSONS:
        if lesson.after_days:
            ctx.wait_for(timedelta(seconds=lesson.after_days * settings.DRIP_DAY_SECONDS))
        airport = ctx.run(f"airport for {lesson.name}", partial(_draw_airport, ctx))
        if not ctx.run_atomic(lesson.name, partial(_write, person, lesson, airport)):
            return {"stopped_before": lesson.name}
    return {"letters": len(LESSONS)}


def about(person: Person) -> str:
    """Return what the letters to a person are about."""
    return f"person {person.pk}"


def _draw_airport(ctx: JobContext) -> str:
    """Draw by chance, which a step does once: another draw in a later run would be another airport."""
    ctx.set_progress(0, "Drawing an airport")
    slow_motion(ctx)
    return str(Airport.objects.order_by("?").first() or "a field of your own")


def _write(person: Person, lesson: Lesson, airport: str) -> bool:
    """Write a letter unless the person has unsubscribed; the same transaction records which of the two it was.

    The lock makes whoever unsubscribes come before this letter or after it, not between.
    """
    person = Person.objects.select_for_update().get(pk=person.pk)
    if person.unsubscribed_at is not None:
        return False
    write(
        about(person),
        person.email,
        lesson.subject,
        f"Dear {person.name},",
        lesson.text.format(airport=airport),
        f"No more letters, please: {site_link(links.unsubscribe_path(person.pk))}",
    )
    return True
