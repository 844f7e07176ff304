"""What a job carries, made readable: literal, escaped, and cut where it would fill the page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from ..domain.recurring import clock_of
from ..exceptions import InvalidSchedule

CUT = 10_000
"""Characters of one value that a page shows at first."""

NOTHING = "–"

# Control characters, such as those of terminal colours, and the marks that turn the direction of writing.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def visible(text: object) -> str:
    """Return `text` with characters that would not be seen written as escapes."""
    return UNSEEN.sub(lambda found: _escape(found[0]), str(text))


def pretty(value: Any) -> str:
    """Return a JSON value as indented text."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def block(text: str, *, name: str, whole: bool) -> SafeString:
    """Return `text` as a block of its own, cut to CUT characters with a link to all of it unless `whole`."""
    if whole or len(text) <= CUT:
        return format_html('<pre class="dq-block" tabindex="0">{}</pre>', text)
    return format_html(
        '<pre class="dq-block" tabindex="0">{}…</pre><p class="dq-more"><a href="?show={}">{}</a></p>',
        text[:CUT],
        name,
        gettext("Show all %(count)s characters") % {"count": f"{len(text):,}".replace(",", "\u00a0")},
    )


def errors(history: Any, *, name: str, whole: bool) -> SafeString:
    """Return the errors of a job, the newest first."""
    entries = [_error(entry) for entry in reversed(history or [])]
    return block("\n\n".join(entries), name=name, whole=whole)


def _error(entry: Any) -> str:
    """One error: what is known of it on a line, then what it said, then where it came from."""
    if not isinstance(entry, Mapping):
        return visible(entry)
    rest = dict(entry)
    said, trace = (str(rest.pop(key, "")) for key in ("message", "traceback"))
    facts = ", ".join(f"{key} {value}" for key, value in rest.items())
    return visible("\n".join(filter(None, [facts, said, trace])))


def moment(when: datetime | None) -> SafeString | str:
    """Return a time in the site's zone, with the exact one in UTC behind it."""
    if when is None:
        return NOTHING
    exact = when.astimezone(UTC).isoformat(timespec="milliseconds")
    return format_html('<time datetime="{}" title="{}">{}</time>', exact, exact, localize(timezone.localtime(when)))


def moment_there(when: datetime, zone: str) -> SafeString | str:
    """Return a time in the site's zone, and in another one where the clocks there show another."""
    try:
        there = localize(timezone.localtime(when, clock_of(zone)))
    except InvalidSchedule:
        return moment(when)
    if there == localize(timezone.localtime(when)):
        return moment(when)
    return format_html('{} <span class="dq-there">({} {})</span>', moment(when), there, visible(zone))


def ago(when: datetime | None, now: datetime) -> SafeString | str:
    """Return how long ago something was, or how soon it will be, with the exact time in UTC behind it."""
    if when is None:
        return NOTHING
    exact = when.astimezone(UTC).isoformat(timespec="milliseconds")
    words = gettext("%(time)s ago") if when <= now else gettext("in %(time)s")
    text = words % {"time": span(abs(now - when))}
    return format_html('<time class="dq-ago" datetime="{}" title="{}">{}</time>', exact, exact, text)


def span(time: timedelta) -> str:
    """Return a duration in its largest unit, rounded to the nearest: "40 s", "5 min", "3 h"."""
    seconds = max(0.0, time.total_seconds())
    for size, unit in UNITS:
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s"


def exact_span(time: timedelta) -> str:
    """Return a duration in the largest unit that divides it: "90 min", "1 h", "0.5 s"."""
    for size, unit in UNITS:
        if time and not time % timedelta(seconds=size):
            return f"{time // timedelta(seconds=size)} {unit}"
    return f"{time.total_seconds():g} s"


def duration(milliseconds: int | None) -> str:
    """Return a duration that is stored in milliseconds."""
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
