"""How spans leave: once, in order, and again after anything that goes wrong."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.core.evolution import fold
from orchestrator.core.facts import Fact, ResultIgnored, RunEnded, RunStarted
from orchestrator.core.model import Run, RunHead, RunStatus
from orchestrator.settings import Settings
from orchestrator.store.port import HistoryEntry, Page, StoredFact
from orchestrator.telemetry import exporter as exporter_module
from orchestrator.telemetry import telemetry_from_environment
from orchestrator.telemetry.exporter import LOOK_BACK, TelemetryExporter
from orchestrator.telemetry.projection import Origin, Projection, SpanRecord
from tests.support.facts import STEP_A, STEP_B, TRACE, failed, going_back, head, sent, succeeded
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.waiting import until


class History:
    """A store and its reader, as far as telemetry looks at them."""

    def __init__(self) -> None:
        self.facts: list[StoredFact] = []
        self.heads: dict[str, RunHead] = {}
        self.cursor = 0
        self.loads = 0

    def add(self, run_head: RunHead, facts: Iterable[Fact]) -> None:
        """Some more facts of a run."""
        self.heads[run_head.id] = run_head
        for fact in facts:
            seq = 1 + sum(stored.run_id == run_head.id for stored in self.facts)
            self.facts.append(StoredFact(id=len(self.facts) + 1, run_id=run_head.id, seq=seq, fact=fact))

    async def telemetry_cursor(self) -> int:
        """What was committed."""
        return self.cursor

    async def facts_after(self, fact_id: int, limit: int) -> list[StoredFact]:
        """The next facts."""
        return self.facts[fact_id : fact_id + limit]

    async def load_runs(self, ids: Sequence[str]) -> dict[str, Run]:
        """Runs by id, folded."""
        self.loads += 1
        return {
            run_id: fold(
                self.heads[run_id], [stored.fact for stored in self.facts if stored.run_id == run_id]
            )
            for run_id in ids
        }

    async def history(
        self, run_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> Page[HistoryEntry]:
        """One run's facts, two at a time to see that pages are followed."""
        after = int(cursor or 0)
        mine = [stored for stored in self.facts if stored.run_id == run_id and stored.seq > after]
        items = [HistoryEntry(stored.seq, stored.fact) for stored in mine[:2]]
        return Page(items, str(items[-1].seq) if len(mine) > 2 else None)

    async def done(self, cursor: int) -> None:
        """Commit a cursor."""
        assert cursor > self.cursor
        self.cursor = cursor


class Backend:
    """Takes spans, or says why not."""

    def __init__(self) -> None:
        self.batches: list[list[SpanRecord]] = []
        self.trouble = ""
        self.tries = 0
        self.closed = False

    def send(self, records: Sequence[SpanRecord]) -> str:
        """See `Sender`."""
        self.tries += 1
        if not self.trouble:
            self.batches.append(list(records))
        return self.trouble

    def close(self) -> None:
        """See `Sender`."""
        self.closed = True

    @property
    def names(self) -> list[str]:
        """The names of all spans, in the order they came."""
        return [span.name for batch in self.batches for span in batch]


@pytest.fixture
def history() -> History:
    """An empty history."""
    return History()


@pytest.fixture
def backend() -> Backend:
    """A backend that takes everything."""
    return Backend()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for long."""
    for name in ("FIRST_RETRY", "LONGEST_RETRY", "POLL"):
        monkeypatch.setattr(exporter_module, name, 0.01)


@asynccontextmanager
async def exporting(
    history: History, backend: Backend, *, now: int = 5_000, done: Callable[[int], Any] | None = None
) -> AsyncIterator[None]:
    """An exporter that runs, and is stopped in the end."""
    exporter = TelemetryExporter(
        history, history, Projection(Origin()), backend, done or history.done, lambda: now
    )
    task = asyncio.create_task(exporter.run())
    try:
        yield
    finally:
        await exporter.stop()
        await task


async def test_spans_leave_once_and_in_order(history: History, backend: Backend) -> None:
    """What has ended leaves; the cursor behind it is committed; nothing leaves twice."""
    async with exporting(history, backend):
        history.add(head(), STEP_A)
        await until(lambda: history.cursor == 4)
        history.add(head(), STEP_B)
        await until(lambda: history.cursor == 6)
    assert backend.names == ["step a", "step b", "run release-web"]
    assert history.loads == 1
    assert backend.closed


async def test_a_restart_goes_on_behind_the_cursor(history: History, backend: Backend) -> None:
    """The next life folds what came before, and exports only what ends after it."""
    history.add(head(), STEP_A)
    async with exporting(history, backend):
        await until(lambda: history.cursor == 4)
    history.add(head(), STEP_B)
    async with exporting(history, backend):
        await until(lambda: history.cursor == 6)
    assert backend.names == ["step a", "step b", "run release-web"]
    assert backend.batches[1][0].start == 2_000


async def test_a_backend_that_is_away_loses_nothing(
    history: History, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """The cursor stays, the try is repeated, and the log says it once going and once coming."""
    caplog.set_level(logging.INFO, "orchestrator.telemetry")
    backend.trouble = "connection refused"
    history.add(head(), STEP_A)
    async with exporting(history, backend):
        await until(lambda: backend.tries > 3)
        assert history.cursor == 0
        history.add(head(), STEP_B)
        backend.trouble = ""
        await until(lambda: history.cursor == 6)
    assert backend.names == ["step a", "step b", "run release-web"]
    assert [record.getMessage() for record in caplog.records] == [
        "telemetry: spans cannot be exported and are kept: connection refused",
        "telemetry: spans are exported again",
    ]


async def test_a_crash_before_the_cursor_is_committed_repeats_the_same_spans(
    history: History, backend: Backend
) -> None:
    """Export is at least once: what left before the crash leaves again, equal in every way, ids included."""
    history.add(head(), [*STEP_A, *STEP_B])

    async def crash(cursor: int) -> None:
        raise asyncio.CancelledError

    exporter = TelemetryExporter(history, history, Projection(Origin()), backend, crash, lambda: 5_000)
    with pytest.raises(asyncio.CancelledError):
        await exporter.run()
    async with exporting(history, backend):
        await until(lambda: history.cursor == 6)
    assert len(backend.batches) == 2
    assert backend.batches[0] == backend.batches[1]


async def test_the_next_batch_waits_for_the_cursor(
    history: History, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a crash can repeat one batch at most."""
    monkeypatch.setattr(exporter_module, "PAGE", 3)
    history.add(head(), [*STEP_A, *STEP_B])
    committed = asyncio.Event()

    async def slow(cursor: int) -> None:
        await committed.wait()
        await history.done(cursor)

    async with exporting(history, backend, done=slow):
        await until(lambda: len(backend.batches) == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert backend.names == ["step a"]
        committed.set()
        await until(lambda: history.cursor == 6)
    assert backend.names == ["step a", "step b", "run release-web"]


async def test_stopping_exports_what_is_left(history: History, backend: Backend) -> None:
    """The end of the last run is not left for the next start."""
    async with exporting(history, backend):
        history.add(head(), [*STEP_A, *STEP_B])
    assert backend.names == ["step a", "step b", "run release-web"]
    assert history.cursor == 6


async def test_a_fault_of_ours_is_said_and_does_not_end_telemetry(
    history: History, backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that goes wrong here may reach the coordinator."""
    broken = History.load_runs
    monkeypatch.setattr(History, "load_runs", None)
    history.add(head(), STEP_A)
    async with exporting(history, backend):
        await until(lambda: bool(caplog.records))
        monkeypatch.setattr(History, "load_runs", broken)
        await until(lambda: history.cursor == 4)
    assert backend.names == ["step a"]


async def test_switched_on_late_it_looks_back_an_hour(history: History, backend: Backend) -> None:
    """An old history is not poured over the backend; what a run did before that is still known."""
    now = 10 * LOOK_BACK
    for number in range(40):
        history.add(head(f"old{number}"), [*STEP_A, *STEP_B])
    history.add(head(), STEP_A)
    history.add(head(), [succeeded("b", now), RunEnded(at=now, status=RunStatus.SUCCEEDED)])
    async with exporting(history, backend, now=now):
        await until(lambda: history.cursor == len(history.facts))
    assert backend.names == ["step b", "run release-web"]
    assert backend.batches[0][0].start == 2_000


async def test_what_is_ignored_after_the_end_costs_nothing(history: History, backend: Backend) -> None:
    """A late result of an ended run is a fact, and no reason to load the run."""
    history.add(head(), [*STEP_A, *STEP_B])
    late = ResultIgnored(
        at=9_000, step="a", host_index=0, command_id="c", status="failed", agent="web-1", why="late"
    )
    async with exporting(history, backend):
        await until(lambda: history.cursor == 6)
        history.add(head(), [late])
    assert history.loads == 1
    assert len(backend.names) == 3


# Over the wire


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """A receiver that the environment points at."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    with OtlpReceiver() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        yield running


async def test_spans_arrive_over_otlp_as_they_were_made(receiver: OtlpReceiver, history: History) -> None:
    """Ids, parents, times, kinds, status, attributes, events and the resource survive the encoding."""
    settings = Settings(namespace="acme", shard="7")
    exporter = telemetry_from_environment(settings, history, history, history.done, lambda: 5_000)
    assert exporter is not None
    task = asyncio.create_task(exporter.run())
    history.add(
        head(),
        [
            RunStarted(at=1_000, steps=["a"]),
            sent("a", 1_000),
            failed("a", 1_500, retry_at=1_600),
            sent("a", 1_600, attempt=2),
            failed("a", 2_000),
            going_back(2_000, step="a"),
            RunEnded(at=2_000, status=RunStatus.FAILED),
        ],
    )
    step, root = await asyncio.to_thread(receiver.wait_for, lambda spans: len(spans) == 2)
    await exporter.stop()
    await task
    assert (root.trace_id, root.span_id, root.parent_id) == (TRACE.trace_id, TRACE.span_id, TRACE.parent_id)
    assert (step.trace_id, step.parent_id, step.span_id) == (
        TRACE.trace_id,
        TRACE.span_id,
        TRACE.span_of("a", 0, undo=False),
    )
    assert (root.kind, step.kind, root.error, step.error) == ("server", "producer", True, True)
    assert (step.start, step.end) == (1_000_000, 2_000_000)
    assert step.attributes["baton.attempts"] == 2
    assert [(name, at) for name, at, _ in step.events] == [
        ("baton.attempt.failed", 1_500_000),
        ("baton.retry", 1_600_000),
    ]
    assert (
        root.resource["service.name"],
        root.resource["service.namespace"],
        root.resource["service.instance.id"],
    ) == (
        "baton-coordinator",
        "acme",
        "7",
    )
    assert root.scope == "baton.orchestrator"


async def test_a_refusing_backend_gets_the_spans_later(
    receiver: OtlpReceiver,
    history: History,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """503 keeps the spans; the log has one line that says why, and nothing from the library."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1.5")
    receiver.status = 503
    exporter = telemetry_from_environment(Settings(), history, history, history.done, lambda: 5_000)
    assert exporter is not None
    task = asyncio.create_task(exporter.run())
    history.add(head(), [*STEP_A, *STEP_B])
    await asyncio.to_thread(receiver.wait_for_requests, 3)
    assert history.cursor == 0
    receiver.status = 200
    await asyncio.to_thread(receiver.wait_for, lambda spans: len(spans) == 3)
    await until(lambda: history.cursor == 6)
    await exporter.stop()
    await task
    assert len({span.span_id for span in receiver.spans}) == len(receiver.spans) == 3
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert "Service Unavailable" in said[0]


def test_without_an_endpoint_nothing_is_even_imported() -> None:
    """Off means no cost: not one module of OpenTelemetry is loaded."""
    code = (
        "import sys\n"
        "from orchestrator.settings import Settings\n"
        "from orchestrator.telemetry import telemetry_from_environment\n"
        "assert telemetry_from_environment(Settings(), None, None, None, None) is None\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
