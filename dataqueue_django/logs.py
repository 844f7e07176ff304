"""One structured log line per state change, on the logger `dataqueue_django.jobs`; free while nobody listens."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import Any

from .domain.records import EventType

package = logging.getLogger("dataqueue_django")
jobs = logging.getLogger("dataqueue_django.jobs")
worker = logging.getLogger("dataqueue_django.worker")

LONGEST_NAME = 200
LONGEST_TRACE = 16 * 1024
"""Characters of a traceback with its message in a log; the error history keeps half as many of each."""


def is_heard() -> bool:
    """Return whether state changes are logged at all."""
    return jobs.isEnabledFor(logging.INFO)


def state_change(event: EventType, *, job_id: int, job_type: str, **facts: Any) -> None:
    """Log that something happened to a job: a sentence for people, the same facts as `extra` for machines.

    Payloads, outputs and error texts are never part of it.
    """
    if not is_heard():
        return
    shown = "".join(f" {name}={value}" for name, value in facts.items() if value is not None)
    extra = {"event": event.value, "job_id": job_id, "job_type": job_type, **facts}
    with suppress(Exception):  # a project's log handler that raises must not cost a job its outcome
        jobs.info("job %d %r %s%s", job_id, job_type, event.value, shown, extra={"dataqueue": extra})


def handler_error(error: BaseException, *, job_id: int, job_type: str, attempt: int, final: bool) -> None:
    """Log what a handler raised, with its traceback: an error when no further attempt follows, else a warning.

    Where the two are too long for a log, their beginning and end are part of the message, and the exception itself is
    not handed on: each log handler would write all of it.
    """
    level = logging.ERROR if final else logging.WARNING
    if jobs.isEnabledFor(level):
        extra = {"job_id": job_id, "job_type": job_type, "attempt": attempt, "final": final}
        text = "job %d %r raised %s in attempt %d"
        values = (job_id, job_type, type(error).__name__[:LONGEST_NAME], attempt)
        with suppress(Exception):
            trace = "".join(traceback.format_exception(error))
            if len(trace) <= LONGEST_TRACE:
                jobs.log(level, text, *values, exc_info=error, extra={"dataqueue": extra})
            else:
                jobs.log(level, f"{text}\n%s", *values, _cut(trace), extra={"dataqueue": extra})


def _cut(text: str) -> str:
    """Leave out the middle of a text."""
    kept = LONGEST_TRACE // 2
    return f"{text[:kept]}\n[{len(text) - 2 * kept} characters left out]\n{text[-kept:]}"


def show_on_console(verbosity: int) -> None:
    """Print this package's lines where somebody reads along and the project's LOGGING does nothing with them.

    That is on a terminal, or with `--verbosity 2`. Elsewhere Python shows warnings and errors by itself.
    """
    if verbosity < 1 or package.hasHandlers() or not (sys.stderr.isatty() or verbosity > 1):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
