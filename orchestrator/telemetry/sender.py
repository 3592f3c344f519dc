"""Finished spans to OpenTelemetry's own objects, and those to the backend: OTLP over http/protobuf.

Importing this module imports OpenTelemetry; nothing does that while no endpoint is set (`runtime.otlp`).
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from orchestrator.telemetry.projection import SpanRecord
from orchestrator.telemetry.stories import SpanEvent

__all__ = ["OtlpSender", "SpanSink", "readable_span"]

_KINDS: Final = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "internal": SpanKind.INTERNAL,
}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_LIBRARY: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class SpanSink(Protocol):
    """The part of OpenTelemetry's `SpanExporter` that is used; `export` blocks, with a timeout of its own."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult: ...  # noqa: D102

    def shutdown(self) -> None: ...  # noqa: D102


def readable_span(record: SpanRecord, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """The span as the SDK would have made it, with the ids and times that were fixed long before."""
    parent = None
    if record.parent_id:
        parent = _context(record.trace_id, record.parent_id, remote=record.remote_parent)
    return ReadableSpan(
        name=record.name,
        context=_context(record.trace_id, record.span_id, remote=False),
        parent=parent,
        resource=resource,
        attributes=dict(record.attributes),
        events=[_event(event) for event in record.events],
        kind=_KINDS[record.kind],
        status=Status(StatusCode.ERROR if record.failed else StatusCode.UNSET),
        start_time=record.start * 1_000,
        end_time=record.end * 1_000,
        instrumentation_scope=scope,
    )


def _context(trace_id: str, span_id: str, *, remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=_SAMPLED)


def _event(event: SpanEvent) -> Event:
    return Event(event.name, dict(event.attributes), event.at * 1_000)


class OtlpSender:
    """Sends spans and says what went wrong. Its methods block: not for the event loop."""

    def __init__(self, sink: SpanSink, resource: Resource, version: str) -> None:
        self._sink = sink
        self._resource = resource
        self._scope = InstrumentationScope("baton.orchestrator", version)
        self._last_words = _LastWords()
        self._log = logging.getLogger(_LIBRARY)
        self._log.addHandler(self._last_words)
        # It says the same at every try; the exporter says it once for each change.
        self._log.propagate = False

    def send(self, records: Sequence[SpanRecord]) -> str:
        """Send spans; empty when the backend has them, else why it has not."""
        self._last_words.text = ""
        spans = [readable_span(record, self._resource, self._scope) for record in records]
        if self._sink.export(spans) is SpanExportResult.SUCCESS:
            return ""
        return self._last_words.text or "the backend did not take the spans"

    def close(self) -> None:
        """Cut a retry short and close the connection."""
        self._sink.shutdown()
        self._log.removeHandler(self._last_words)
        self._log.propagate = True


class _LastWords(logging.Handler):
    """Keeps what the library logged last: the only place where it tells the cause."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not self.text or (record.levelno >= logging.ERROR and "due to timeout" not in text):
            self.text = text
