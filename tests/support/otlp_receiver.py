"""A small OTLP/HTTP receiver on loopback, for tests: takes traces over http/protobuf and keeps the spans."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

__all__ = ["OtlpReceiver", "ReceivedSpan"]


@dataclass(frozen=True)
class ReceivedSpan:
    """One span as it came over the wire. Ids are lower-case hex, `parent_id` is empty for none; times in ns.

    `resource` holds the resource's attributes; `events` are (name, time, attributes).
    """

    service: str
    resource: dict[str, Any]
    scope: str
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start: int
    end: int
    attributes: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]
    error: bool


class OtlpReceiver:
    """A real HTTP server, as a context manager.

    `status` is what it answers; with 200 the spans are kept in `batches`, one for each request. `requests`
    counts those that were refused too.
    """

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.batches: list[list[ReceivedSpan]] = []
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def spans(self) -> list[ReceivedSpan]:
        """Every span received so far."""
        return [span for batch in self.batches for span in batch]

    @property
    def endpoint(self) -> str:
        """For `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(
        self, holds: Callable[[list[ReceivedSpan]], bool], timeout: float = 10.0
    ) -> list[ReceivedSpan]:
        """Block until `holds` of the spans received so far and return them; fail after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self.spans), timeout):
                names = Counter(f"{span.service}: {span.name}" for span in self.spans)
                raise AssertionError(f"not received within {timeout} s; there are {dict(names)}")
            return self.spans

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> None:
        """Block until so many requests have come in."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.requests >= count, timeout):
                raise AssertionError(f"{self.requests} requests within {timeout} s, not {count}")

    def take(self, body: bytes) -> int:
        """Take one export request; returns the HTTP status to answer."""
        spans = _read(body)
        with self._changed:
            self.requests += 1
            if self.status == 200:
                self.batches.append(spans)
            self._changed.notify_all()
            return self.status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: OtlpReceiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = decompress(body)
        right = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
        status = self.server.receiver.take(body) if right else 404
        answer = ExportTraceServiceResponse().SerializeToString() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _read(body: bytes) -> list[ReceivedSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        _span(span, _attributes(group.resource.attributes), scoped.scope.name)
        for group in request.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


def _span(span: Span, resource: dict[str, Any], scope: str) -> ReceivedSpan:
    return ReceivedSpan(
        service=resource.get("service.name", ""),
        resource=resource,
        scope=scope,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=[(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events],
        error=span.status.code == Status.STATUS_CODE_ERROR,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    value: AnyValue = pair.value
    which = value.WhichOneof("value")
    if which == "array_value":
        return [getattr(item, item.WhichOneof("value") or "") for item in value.array_value.values]
    return getattr(value, which) if which else None
