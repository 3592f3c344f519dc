"""Spans from facts, and how they leave: exactly, in order, and again after anything that goes wrong."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptStarted,
    AttemptSucceeded,
    CancelSent,
    Fact,
    ResultIgnored,
    RunEnded,
    RunGoingBack,
    RunStarted,
    TaskCancelled,
    TaskInDoubt,
    TaskResolved,
    TaskSkipped,
    fold,
)
from orchestrator.core.model import Failure, Run, RunHead, RunStatus, StepStatus, TraceContext
from orchestrator.settings import Settings
from orchestrator.store.port import HistoryEntry, Page, StoredFact
from orchestrator.telemetry import exporter as exporter_module
from orchestrator.telemetry import telemetry_from_environment
from orchestrator.telemetry.exporter import LOOK_BACK, TelemetryExporter
from orchestrator.telemetry.projection import MAX_EVENTS, Origin, Projection, SpanEvent, SpanRecord
from schemas.messages import ErrorInfo
from schemas.names import Topology
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.waiting import until

TRACE = TraceContext(
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7", parent_id="b7ad6b7169203331"
)
SECRET = "4111-1111-1111-1111"


def head(run_id: str = "r1", trace: TraceContext = TRACE) -> RunHead:
    """A run's head whose payload must never be seen."""
    return RunHead(
        id=run_id,
        workflow="release-web",
        version="v1hash",
        key=SECRET,
        created_at=1_000,
        trace=trace,
        input={"card": SECRET},
        event={"data": {"card": SECRET}},
    )


def sent(step: str, at: int, *, attempt: int = 1, undo: bool = False, target: str = "agent.web-1") -> Fact:
    """An attempt goes out."""
    kind = "compensate" if undo else "execute"
    return AttemptSent(
        at=at,
        step=step,
        host_index=0,
        undo=undo,
        attempt=attempt,
        command_id=f"r1/{step}/0/{attempt}/{kind}",
        action="app.undo" if undo else "app.do",
        target=target,
        due=at + 1_000_000,
    )


def succeeded(step: str, at: int, agent: str = "web-1") -> Fact:
    """The outstanding attempt did it."""
    return AttemptSucceeded(
        at=at, step=step, host_index=0, command_id="c", agent=agent, output={"card": SECRET}
    )


def failed(step: str, at: int, code: str = "boom", status: str = "failed", **more: Any) -> Fact:
    """The outstanding attempt failed."""
    error = ErrorInfo(code=code, message=SECRET, details=SECRET)
    return AttemptFailed(at=at, step=step, host_index=0, command_id="c", status=status, error=error, **more)


def going_back(at: int, step: str = "b", code: str = "boom") -> Fact:
    """The run turns round."""
    return RunGoingBack(at=at, failure=Failure(step=step, code=code, message=SECRET))


def spans_of(
    facts: Iterable[Fact], run_head: RunHead | None = None, origin: Origin | None = None
) -> list[SpanRecord]:
    """What the projection makes of one run's facts."""
    projection = Projection(origin or Origin())
    projection.learn(run_head or head())
    return [span for fact in facts if (span := projection.feed("r1", fact))]


def test_a_run_that_succeeds_is_a_tree_of_run_and_steps() -> None:
    """Ids are those fixed at the start, times those of the facts, attributes those of the conventions."""
    facts = [
        RunStarted(at=1_000, steps=["a", "b"]),
        sent("a", 1_000),
        AttemptStarted(at=1_500, step="a", host_index=0, command_id="c", agent="web-1", due=9_000),
        succeeded("a", 2_000),
        sent("b", 2_000, target="pool.web"),
        succeeded("b", 3_000, agent="web-2"),
        RunEnded(at=3_000, status=RunStatus.SUCCEEDED, output={"card": SECRET}),
    ]
    origin = Origin(Topology("acme"), "http://baton.example:8040", "mq.example", 5672)
    first, second, root = spans_of(facts, origin=origin)
    of_run = {"cicd.pipeline.name": "release-web", "cicd.pipeline.run.id": "r1", "baton.run.id": "r1"}
    of_sending: dict[str, str | int] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "server.address": "mq.example",
        "server.port": 5672,
    }
    assert root == SpanRecord(
        trace_id=TRACE.trace_id,
        span_id=TRACE.span_id,
        parent_id=TRACE.parent_id,
        remote_parent=True,
        name="run release-web",
        kind="server",
        start=1_000,
        end=3_000,
        attributes=of_run
        | {
            "cicd.pipeline.action.name": "RUN",
            "cicd.pipeline.result": "success",
            "cicd.pipeline.run.url.full": "http://baton.example:8040/api/runs/r1",
            "baton.run.status": "succeeded",
            "baton.run.version": "v1hash",
        },
    )
    assert first == SpanRecord(
        trace_id=TRACE.trace_id,
        span_id=TRACE.span_of("a", 0, undo=False),
        parent_id=TRACE.span_id,
        name="step a",
        kind="producer",
        start=1_000,
        end=2_000,
        attributes=of_run
        | of_sending
        | {
            "cicd.pipeline.task.name": "a",
            "cicd.pipeline.task.run.id": "a/0",
            "cicd.pipeline.task.run.result": "success",
            "cicd.pipeline.task.run.url.full": "http://baton.example:8040/api/runs/r1#a",
            "baton.step": "a",
            "baton.attempts": 1,
            "baton.action": "app.do",
            "baton.agent": "web-1",
            "messaging.destination.name": "acme.commands:agent.web-1",
            "messaging.destination.template": "acme.agent.{name}",
            "messaging.rabbitmq.destination.routing_key": "agent.web-1",
        },
    )
    assert (second.start, second.end, second.parent_id) == (2_000, 3_000, TRACE.span_id)
    assert second.attributes["baton.agent"] == "web-2"
    assert second.attributes["messaging.destination.template"] == "acme.pool.{name}"


def test_a_run_without_a_publisher_begins_its_trace() -> None:
    """No parent was given, so none is claimed."""
    trace = TraceContext(trace_id=TRACE.trace_id, span_id=TRACE.span_id)
    (root,) = spans_of(
        [RunStarted(at=1, steps=[]), RunEnded(at=2, status=RunStatus.SUCCEEDED)], head(trace=trace)
    )
    assert (root.parent_id, root.remote_parent) == ("", False)


def test_what_failed_and_was_undone_says_so() -> None:
    """The failed step, the undo and the run each have their span, their own result and the error's code."""
    facts = [
        RunStarted(at=1_000, steps=["a", "b", "c"]),
        sent("a", 1_000),
        succeeded("a", 2_000),
        sent("b", 2_000),
        failed("b", 3_000, retry_at=3_500),
        sent("b", 3_500, attempt=2),
        failed("b", 4_000),
        going_back(4_000),
        TaskCancelled(at=4_000, step="c", host_index=0),
        sent("a", 4_000, undo=True),
        succeeded("a", 5_000),
        RunEnded(at=5_000, status=RunStatus.COMPENSATED),
    ]
    forward, broken, undone, root = spans_of(facts)
    assert [span.name for span in (forward, broken, undone, root)] == [
        "step a",
        "step b",
        "undo a",
        "run release-web",
    ]
    assert [span.failed for span in (forward, broken, undone, root)] == [False, True, False, True]
    assert (broken.start, broken.end, broken.attributes["baton.attempts"]) == (2_000, 4_000, 2)
    assert broken.attributes["error.type"] == "boom"
    assert broken.attributes["cicd.pipeline.task.run.result"] == "failure"
    assert broken.events == (
        SpanEvent("baton.attempt.failed", 3_000, {"error.type": "boom", "baton.outcome": "failed"}),
        SpanEvent("baton.retry", 3_500, {"baton.attempt": 2}),
    )
    assert undone.span_id == TRACE.span_of("a", 0, undo=True) != forward.span_id
    assert (undone.start, undone.end, undone.parent_id) == (4_000, 5_000, TRACE.span_id)
    assert (undone.attributes["baton.action"], undone.attributes["baton.agent"]) == ("app.undo", "web-1")
    assert undone.attributes["cicd.pipeline.task.run.id"] == "a/0/undo"
    assert (root.attributes["cicd.pipeline.result"], root.attributes["error.type"]) == ("failure", "boom")
    assert root.events == (SpanEvent("baton.going_back", 4_000, {"error.type": "boom", "baton.step": "b"}),)


def test_an_undo_has_no_end_while_a_person_may_retry_it() -> None:
    """One span for an undo, however often it fails; given up, it is an error."""
    begin = [
        RunStarted(at=1, steps=["a", "b"]),
        sent("a", 1),
        succeeded("a", 2),
        sent("b", 2),
        failed("b", 3),
        going_back(3),
        sent("a", 3, undo=True),
        failed("a", 4, undo=True, outcome=StepStatus.COMPENSATION_FAILED),
        TaskResolved(at=5, step="a", host_index=0, decision="retry", who=SECRET),
        sent("a", 5, attempt=2, undo=True),
    ]
    *_, undone = spans_of([*begin, succeeded("a", 6)])
    assert len(spans_of(begin)) == 2
    assert (undone.name, undone.start, undone.end, undone.failed) == ("undo a", 3, 6, False)
    assert [event.name for event in undone.events] == [
        "baton.attempt.failed",
        "baton.resolved",
        "baton.retry",
    ]
    again = failed("a", 6, code="worse", undo=True, outcome=StepStatus.COMPENSATION_FAILED)
    *_, given_up = spans_of(
        [*begin, again, TaskResolved(at=7, step="a", host_index=0, decision="skip", who=SECRET)]
    )
    assert (given_up.name, given_up.end, given_up.failed) == ("undo a", 7, True)
    assert given_up.attributes["error.type"] == "worse"


def test_a_step_in_doubt_has_no_end_until_somebody_knows() -> None:
    """A late answer or a person ends it."""
    begin: list[Fact] = [
        RunStarted(at=1, steps=["a"]),
        sent("a", 1),
        TaskInDoubt(at=2, step="a", host_index=0, command_id="c", why="?"),
    ]
    assert spans_of(begin) == []
    (late,) = spans_of([*begin, succeeded("a", 9)])
    assert (late.end, late.failed, [event.name for event in late.events]) == (9, False, ["baton.in_doubt"])
    (skipped,) = spans_of([*begin, TaskResolved(at=9, step="a", host_index=0, decision="skip", who=SECRET)])
    assert skipped.attributes["cicd.pipeline.task.run.result"] == "skip"
    assert [event.name for event in skipped.events] == ["baton.in_doubt", "baton.resolved"]


@pytest.mark.parametrize(
    ("fact", "result", "is_error"),
    [
        (failed("a", 5), "failure", True),
        (failed("a", 5, status="timed_out"), "timeout", True),
        (failed("a", 5, status="returned", code="agent_unknown"), "error", True),
        (failed("a", 5, status="expired", code="agent_unavailable"), "error", True),
        (failed("a", 5, status="cancelled", outcome=StepStatus.CANCELLED), "cancellation", False),
        (TaskCancelled(at=5, step="a", host_index=0), "cancellation", False),
        (TaskResolved(at=5, step="a", host_index=0, decision="done", who="eve"), "success", False),
    ],
)
def test_each_end_of_a_step_has_its_result(fact: Fact, result: str, is_error: bool) -> None:  # noqa: FBT001
    """The words are those of `cicd.pipeline.task.run.result`."""
    (span,) = spans_of([RunStarted(at=1, steps=["a"]), sent("a", 1), fact])
    assert (span.attributes["cicd.pipeline.task.run.result"], span.failed) == (result, is_error)
    assert ("error.type" in span.attributes) is is_error


def test_what_never_began_has_no_span_unless_that_is_the_failure() -> None:
    """Skipped and cancelled tasks leave none; a command that could not be made is seen."""
    facts: list[Fact] = [
        RunStarted(at=1, steps=["a", "b", "c"]),
        TaskSkipped(at=2, step="a", host_index=0),
        failed("b", 3, code="missing_field", status="not_sent"),
        going_back(3),
        TaskCancelled(at=3, step="c", host_index=0),
        RunEnded(at=3, status=RunStatus.FAILED),
    ]
    unsent, root = spans_of(facts)
    assert (unsent.name, unsent.start, unsent.end, unsent.failed) == ("step b", 3, 3, True)
    assert not any(name.startswith("messaging.") for name in unsent.attributes)
    assert root.failed


def test_a_cancelled_run_is_no_error() -> None:
    """Somebody wanted it so."""
    facts = [
        RunStarted(at=1, steps=["a"]),
        sent("a", 1),
        RunGoingBack(at=2, failure=Failure(step="", code="cancelled", message=SECRET), cancelled_by=SECRET),
        CancelSent(at=2, step="a", host_index=0, command_id="c", agent="web-1"),
        failed("a", 3, status="cancelled", outcome=StepStatus.CANCELLED),
        RunEnded(at=3, status=RunStatus.CANCELLED),
    ]
    step, root = spans_of(facts)
    assert (root.attributes["cicd.pipeline.result"], root.failed) == ("cancellation", False)
    assert [event.name for event in step.events] == ["baton.cancel.sent"]


def test_no_payload_is_in_any_span() -> None:
    """Not the key, the input, an output, an argument, an error's message, nor who decided."""
    begin = [
        RunStarted(at=1, steps=["a", "b"]),
        sent("a", 1),
        succeeded("a", 2),
        sent("b", 2),
        failed("b", 3),
    ]
    end = [
        going_back(3),
        sent("a", 3, undo=True),
        failed("a", 4, undo=True, outcome=StepStatus.COMPENSATION_FAILED),
        TaskResolved(at=5, step="a", host_index=0, decision="skip", who=SECRET, why=SECRET, output=SECRET),
        RunEnded(at=5, status=RunStatus.FAILED, reason=SECRET, output=SECRET),
    ]
    spans = spans_of([*begin, *end])
    assert len(spans) == 4
    assert SECRET not in repr(spans)


def test_a_clock_that_went_back_gives_no_negative_span() -> None:
    """The end is never before the start."""
    step, root = spans_of(
        [
            RunStarted(at=1_000, steps=["a"]),
            sent("a", 1_000),
            succeeded("a", 10),
            RunEnded(at=10, status=RunStatus.SUCCEEDED),
        ]
    )
    assert (step.start, step.end, root.start, root.end) == (1_000, 1_000, 1_000, 1_000)


def test_the_events_of_a_span_are_bounded() -> None:
    """Retries can be many; a span must fit into a request."""
    facts: list[Fact] = [RunStarted(at=1, steps=["a"])]
    for attempt in range(1, 200):
        facts += [sent("a", attempt, attempt=attempt), failed("a", attempt, retry_at=attempt)]
    (span,) = spans_of([*facts, sent("a", 200, attempt=200), succeeded("a", 200)])
    assert len(span.events) == MAX_EVENTS
    assert span.attributes["baton.attempts"] == 200


@pytest.mark.parametrize("known", range(13))
def test_taking_up_a_run_in_its_middle_gives_the_same_spans(known: int) -> None:
    """Whatever was folded by a former life, the spans still to come are the same as without the break."""
    facts = [
        RunStarted(at=1_000, steps=["a", "b"]),
        sent("a", 1_000),
        failed("a", 1_100, retry_at=1_200),
        sent("a", 1_200, attempt=2),
        succeeded("a", 2_000),
        sent("b", 2_000),
        failed("b", 3_000),
        going_back(3_000),
        sent("a", 3_000, undo=True),
        failed("a", 3_100, undo=True, retry_at=3_200),
        sent("a", 3_200, attempt=2, undo=True),
        succeeded("a", 5_000),
        RunEnded(at=5_000, status=RunStatus.COMPENSATED),
    ]
    projection = Projection(Origin())
    projection.learn(head(), facts[:known])
    later = [span for fact in facts[known:] if (span := projection.feed("r1", fact))]
    assert later == spans_of(facts)[len(spans_of(facts[:known])) :]
    assert not projection.knows("r1")


# The exporter


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


STEP_A = [RunStarted(at=1_000, steps=["a", "b"]), sent("a", 1_000), succeeded("a", 2_000), sent("b", 2_000)]
STEP_B = [succeeded("b", 3_000), RunEnded(at=3_000, status=RunStatus.SUCCEEDED)]


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
