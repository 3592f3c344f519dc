"""Spans to an OTLP collector over http/protobuf, as OpenTelemetry's own `OTEL_*` variables say.

Without an endpoint there is nothing: the libraries are not even imported, which would cost a start half a
second. Never call `export`, `force_flush` or `shutdown` on the event loop: each can block until its timeout.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the one place that must name these types without importing them
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["resource", "span_exporter", "tracer_provider", "traces_wanted"]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def traces_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether an endpoint is set and tracing is not switched off."""
    return (
        any(environ.get(name) for name in ENDPOINTS)
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() != "none"
    )


def span_exporter() -> "SpanExporter | None":
    """What sends spans, set up from the environment; None when traces are not wanted."""
    if not traces_wanted():
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def resource(service: str, attributes: Mapping[str, str] | None = None) -> "Resource":
    """Who is speaking. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over what is given here."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    return Resource.create({"service.name": service, **(attributes or {})}).merge(
        OTELResourceDetector().detect()
    )


def tracer_provider(service: str, attributes: Mapping[str, str] | None = None) -> "TracerProvider | None":
    """A provider that exports in batches from a thread of its own; None when traces are not wanted."""
    exporter = span_exporter()
    if exporter is None:
        return None
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource(service, attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
