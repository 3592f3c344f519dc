"""The real exporters of spans, with a backend that is a list, and is away now and then."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from agents.settings import Settings as AgentSettings
from agents.telemetry import Spans
from orchestrator.store import rows
from orchestrator.store.port import HistoryEntry, Page
from orchestrator.store.sqlite import SqliteStore
from orchestrator.telemetry import TelemetryExporter
from orchestrator.telemetry.projection import Origin, Projection
from orchestrator.telemetry.sender import OtlpSender
from schemas.times import Micros
from tests.simulation.clockwork import Life

__all__ = ["Backend", "agent_spans", "exporting"]


class Backend(SpanExporter):
    """Takes the spans of all processes. `away`: how often it does not take what it is sent."""

    def __init__(self, seed: int) -> None:
        self.spans: list[ReadableSpan] = []
        self.away = 0.1
        self._rng = Random(f"{seed}/backend")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See the SDK."""
        if self._rng.random() < self.away:
            return SpanExportResult.FAILURE
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def words(self) -> Iterator[str]:
        """All that is written in the spans."""
        for span in self.spans:
            yield f"{span.name} {span.status.description} {dict(span.attributes or {})}"
            yield f"{dict(span.resource.attributes)} {span.links}"
            yield from (f"{event.name} {dict(event.attributes or {})}" for event in span.events)


def agent_spans(backend: Backend, settings: AgentSettings) -> Spans:
    """What an agent tells of its attempts."""
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(backend))
    return Spans(provider, settings)


class _History:
    """See `orchestrator.telemetry.exporter.RunHistory`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def history(
        self, run_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> Page[HistoryEntry]:
        """All at once."""
        query = "SELECT seq, payload FROM history WHERE run_id = ? ORDER BY seq"
        with contextlib.closing(sqlite3.connect(self._path)) as db:
            found = db.execute(query, (run_id,)).fetchall()
        return Page([HistoryEntry(seq, rows.fact_of(payload)) for seq, payload in found])


@contextlib.asynccontextmanager
async def exporting(
    backend: Backend | None,
    store: SqliteStore,
    path: Path,
    done: Callable[[int], Awaitable[object]],
    now: Callable[[], Micros],
    life: Life,
) -> AsyncIterator[None]:
    """Export the coordinator's spans meanwhile, as `orchestrator.app` does; nothing without a backend."""
    if backend is None:
        yield
        return
    sender = OtlpSender(backend, Resource({}), "0")
    life.at_death.append(sender.close)
    exporter = TelemetryExporter(store, _History(path), Projection(Origin()), sender, done, now)
    task = asyncio.create_task(exporter.run())
    try:
        yield
    finally:
        await exporter.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
