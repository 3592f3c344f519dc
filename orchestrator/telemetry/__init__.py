"""A run as one trace: spans from the stored facts, exported over OTLP (`docs/telemetry.md`)."""

from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from orchestrator.settings import Settings
from orchestrator.telemetry.exporter import FactSource, RunHistory, TelemetryExporter
from orchestrator.telemetry.projection import Origin, Projection
from runtime.otlp import resource, span_exporter
from schemas.names import Topology
from schemas.times import Micros

__all__ = ["TelemetryExporter", "telemetry_from_environment"]


def telemetry_from_environment(
    settings: Settings,
    source: FactSource,
    reader: RunHistory,
    done: Callable[[int], Awaitable[object]],
    now: Callable[[], Micros],
) -> TelemetryExporter | None:
    """The exporter that `OTEL_*` variables ask for; None when they do not, and OpenTelemetry is not imported.

    `source` is the store and `reader` its reader. `done(cursor)` has the cursor committed, then returns.
    """
    sink = span_exporter()
    if sink is None:
        return None
    from orchestrator.telemetry.sender import OtlpSender

    release = _version()
    speaker = resource(
        "baton-coordinator",
        {
            "service.namespace": settings.namespace,
            "service.instance.id": settings.shard,
            "service.version": release,
        },
    )
    return TelemetryExporter(
        source, reader, Projection(_origin(settings)), OtlpSender(sink, speaker, release), done, now
    )


def _origin(settings: Settings) -> Origin:
    broker = urlsplit(settings.amqp_url)
    return Origin(
        topology=Topology(settings.namespace),
        url=settings.url.rstrip("/"),
        broker=broker.hostname or "",
        broker_port=broker.port or (5671 if broker.scheme == "amqps" else 5672),
    )


def _version() -> str:
    try:
        return version("baton-orchestrator")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
