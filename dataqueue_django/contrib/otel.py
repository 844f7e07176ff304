"""OpenTelemetry: `DATAQUEUE_CONTEXT = ["dataqueue_django.contrib.otel.TraceCarrier"]`.

A job that is added is a producer span, each run a consumer span in the same trace. What is carried is the W3C trace
context, by the propagator that the project has set. Without a tracer provider nothing is carried and nothing is traced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..carrying import Carrier
from ..domain.records import JSON, ClaimedJob, NewJob
from ..exceptions import ConfigurationError, Snooze

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
except ImportError:
    raise ConfigurationError('Tracing needs OpenTelemetry: pip install "dataqueue-django[otel]".') from None

LONGEST = {"traceparent": 512, "tracestate": 512, "baggage": 2048}
"""Characters of each header that are carried; longer ones are left out, any other has the least."""

MOST_HEADERS = 8


class TraceCarrier(Carrier):
    """Carries the trace that a job is added in to its runs."""

    name = "otel"

    def capture(self, job: NewJob) -> JSON:
        """Make the span of adding the job, and return the headers that name it."""
        headers: dict[str, str] = {}
        with _tracer().start_as_current_span(
            f"create {job.job_type}", kind=SpanKind.PRODUCER, attributes=_attributes("create", job.job_type, job.queue)
        ):
            propagate.inject(headers)
        fitting = [(name, text) for name, text in headers.items() if len(text) <= LONGEST.get(name, 512)]
        return dict(fitting[:MOST_HEADERS]) or None

    @contextmanager
    def restore(self, carried: JSON, job: ClaimedJob) -> Iterator[None]:
        """Run the handler in a span of its own, under the one that added the job."""
        token = context.attach(propagate.extract(_headers(carried)))
        try:
            with _tracer().start_as_current_span(
                f"process {job.job_type}",
                kind=SpanKind.CONSUMER,
                attributes={
                    **_attributes("process", job.job_type, job.queue),
                    "messaging.message.id": str(job.id),
                    "dataqueue.attempt": job.attempts,
                },
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    yield
                except Snooze:  # not now is no failure
                    span.add_event("snoozed")
                    raise
                except Exception as error:  # no BaseException: those are waits, cancellations and the like
                    span.record_exception(error)
                    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                    raise
        finally:
            context.detach(token)


def _tracer() -> Tracer:
    return trace.get_tracer("dataqueue_django")


def _attributes(operation: str, job_type: str, queue: str) -> dict[str, Any]:
    return {
        "messaging.system": "dataqueue",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "dataqueue.job_type": job_type,
    }


def _headers(carried: JSON) -> dict[str, str]:
    given = carried if isinstance(carried, dict) else {}
    return {name: text for name, text in given.items() if isinstance(text, str)}
