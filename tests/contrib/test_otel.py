"""Traces go from where a job is added to where it runs."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from dataqueue_django import JobContext, Snooze, get_queue, job
from dataqueue_django.contrib import otel
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.harness.fixtures import REAL

pytestmark = [REAL, pytest.mark.usefixtures("forget_handlers")]


@pytest.fixture
def queue(any_alias: str, settings: Any) -> JobQueue:
    settings.DATAQUEUE_CONTEXT = ["dataqueue_django.contrib.otel.TraceCarrier"]
    return get_queue(any_alias)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What was traced; the provider is the test's own, since the global one can be set only once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", lambda name: provider.get_tracer(name))
    return exporter


def burst(queue: JobQueue) -> None:
    WorkerLoop(queue, ProcessorOptions(burst=True)).run()


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_one_trace_from_the_request_to_the_handler(queue: JobQueue, spans: InMemorySpanExporter, kind: str) -> None:
    @job("otel.sync", queue="mail")
    def sync() -> str:
        with trace.get_tracer("shop").start_as_current_span("in the handler"):
            return str(baggage.get_baggage("tenant"))

    @job("otel.async", queue="mail")
    async def coroutine() -> str:
        with trace.get_tracer("shop").start_as_current_span("in the handler"):
            return str(baggage.get_baggage("tenant"))

    token = context.attach(baggage.set_baggage("tenant", "blue"))
    with trace.get_tracer("shop").start_as_current_span("request"):
        id = queue.add_job(f"otel.{kind}", {})
    context.detach(token)
    burst(queue)
    found = by_name(spans)
    request, create, process = found["request"], found[f"create otel.{kind}"], found[f"process otel.{kind}"]
    assert (create.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert parent_of(create) == request.context.span_id
    assert parent_of(process) == create.context.span_id
    assert parent_of(found["in the handler"]) == process.context.span_id
    assert {span.context.trace_id for span in found.values()} == {request.context.trace_id}
    assert process.attributes is not None
    assert (process.attributes["messaging.message.id"], process.attributes["messaging.destination.name"]) == (
        str(id),
        "mail",
    )
    job_record = queue.store.get([id])[0]
    assert job_record.output == "blue"
    assert set(job_record.context["otel"]) == {"traceparent", "baggage"}


def test_exceptions_are_recorded_once_and_waits_are_none(queue: JobQueue, spans: InMemorySpanExporter) -> None:
    @job("otel.broken", max_attempts=1)
    def broken() -> None:
        raise ValueError("no ink")

    @job("otel.waiting", takes_context=True)
    def waiting(ctx: JobContext) -> None:
        ctx.wait_for(3600)

    @job("otel.snoozing")
    def snoozing() -> None:
        raise Snooze(3600)

    for name in ("broken", "waiting", "snoozing"):
        queue.add_job(f"otel.{name}", {})
    burst(queue)
    found = by_name(spans)
    failed = found["process otel.broken"]
    assert failed.status.status_code is StatusCode.ERROR
    assert [(e.name, (e.attributes or {})["exception.message"]) for e in failed.events] == [("exception", "no ink")]
    for name in ("waiting", "snoozing"):
        assert found[f"process otel.{name}"].status.status_code is StatusCode.UNSET
        assert all(event.name != "exception" for event in found[f"process otel.{name}"].events)


def test_headers_too_long_are_left_out(queue: JobQueue, spans: InMemorySpanExporter) -> None:
    job("otel.long")(lambda: None)
    token = context.attach(baggage.set_baggage("tenant", "x" * 4000))
    id = queue.add_job("otel.long", {})
    context.detach(token)
    assert set(queue.store.get([id])[0].context["otel"]) == {"traceparent"}
    burst(queue)
    assert queue.store.get([id])[0].status.value == "completed"


@pytest.mark.parametrize("carried", [None, [], "x", {"traceparent": 3}, {"traceparent": "nonsense"}])
def test_nonsense_begins_a_trace_of_its_own(queue: JobQueue, spans: InMemorySpanExporter, carried: Any) -> None:
    job("otel.nonsense")(lambda: None)
    claimed = type("Claimed", (), {"id": 1, "job_type": "otel.nonsense", "queue": "default", "attempts": 1})()
    with otel.TraceCarrier().restore(carried, claimed):
        pass
    assert by_name(spans)["process otel.nonsense"].parent is None


def test_without_a_provider_nothing_is_carried(queue: JobQueue) -> None:
    job("otel.off")(lambda: None)
    assert queue.store.get([queue.add_job("otel.off", {})])[0].context is None
