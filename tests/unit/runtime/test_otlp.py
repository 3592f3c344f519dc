"""Traces are off unless asked for, and then follow OpenTelemetry's own settings."""

import subprocess
import sys

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from runtime import otlp

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_wanted_when_there_is_an_endpoint(environ: dict[str, str], *, wanted: bool) -> None:
    """An endpoint switches them on; `OTEL_SDK_DISABLED` and `OTEL_TRACES_EXPORTER=none` off again."""
    assert otlp.traces_wanted(environ) is wanted


def test_nothing_is_imported_without_an_endpoint() -> None:
    """A process that sends no traces does not pay for OpenTelemetry's import."""
    code = (
        "import sys; from runtime import otlp; "
        "assert otlp.span_exporter() is None and otlp.tracer_provider('x') is None; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], env={}, check=False).returncode == 0


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over what the process says of itself."""
    ours = otlp.resource("baton", {"host.name": "a", "baton.shard": "0"}).attributes
    assert (ours["service.name"], ours["host.name"]) == ("baton", "a")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=b")
    theirs = otlp.resource("baton", {"host.name": "a", "baton.shard": "0"}).attributes
    assert (theirs["service.name"], theirs["host.name"], theirs["baton.shard"]) == ("mine", "b", "0")


def test_with_an_endpoint_there_is_an_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter speaks http/protobuf, and the provider takes spans and shuts down."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    exporter, provider = otlp.span_exporter(), otlp.tracer_provider("baton")
    assert isinstance(exporter, OTLPSpanExporter)
    assert provider is not None
    exporter.shutdown()  # type: ignore[no-untyped-call]
    provider.shutdown()
