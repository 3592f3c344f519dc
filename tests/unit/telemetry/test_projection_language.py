"""Spans of steps without an agent, of fan-outs, of child runs, and of what people have done again."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from orchestrator.core.facts import (
    BatchPaused,
    EventEmitted,
    Fact,
    FailureTolerated,
    HostRef,
    NeverSeen,
    PivotPassed,
    RetryHurried,
    RunEnded,
    RunHeld,
    RunMoved,
    RunPaused,
    RunQueued,
    RunResumed,
    RunStarted,
    StepExpanded,
    StepsKept,
    StepsReset,
    TaskDone,
    TaskParked,
    TaskResolved,
    TaskWaiting,
)
from orchestrator.core.model import (
    ParentRef,
    RunHead,
    RunStatus,
    StepStatus,
    Task,
    TraceContext,
    Wait,
    WaitOn,
)
from orchestrator.telemetry.projection import Origin, Projection, SpanRecord
from tests.support.facts import SECRET, TRACE, failed, head, sent, succeeded


def spans_of(facts: Iterable[Fact], run_head: RunHead | None = None) -> list[SpanRecord]:
    """What the projection makes of one run's facts."""
    projection = Projection(Origin())
    projection.learn(run_head or head())
    return [span for fact in facts if (span := projection.feed("r1", fact))]


def waiting(step: str, at: int, wait: Wait, *, undo: bool = False, attempt: int = 1) -> Fact:
    """A task begins to wait."""
    return TaskWaiting(at=at, step=step, host_index=0, attempt=attempt, wait=wait, undo=undo)


@pytest.mark.parametrize("on", list(WaitOn))
def test_a_wait_is_a_span_of_its_own(on: WaitOn) -> None:
    """From when it began to wait to what it waited for; no message was sent for it."""
    wait = Wait(on, topic=SECRET, value=SECRET, message=SECRET, child="r2" if on is WaitOn.CHILD else "")
    facts: list[Fact] = [
        RunStarted(at=1, steps=["a"]),
        waiting("a", 2, wait),
        TaskDone(at=9, step="a", host_index=0, output=SECRET, who=SECRET, why=SECRET),
    ]
    (span,) = spans_of(facts)
    assert (span.name, span.kind, span.start, span.end, span.failed) == ("step a", "internal", 2, 9, False)
    assert span.span_id == TRACE.span_of("a", 0, undo=False)
    assert span.attributes["baton.wait"] == on
    assert span.attributes.get("baton.child.run.id") == ("r2" if on is WaitOn.CHILD else None)
    assert span.attributes["cicd.pipeline.task.run.result"] == "success"
    assert not any(name.startswith("messaging.") for name in span.attributes)
    assert SECRET not in repr(span)


@pytest.mark.parametrize(
    ("code", "result"),
    [("wait_timed_out", "timeout"), ("approval_timed_out", "timeout"), ("rejected_by_person", "failure")],
)
def test_a_wait_in_vain(code: str, result: str) -> None:
    """That the time was up is a timeout; a rejection is a failure."""
    facts = [
        RunStarted(at=1, steps=["a"]),
        waiting("a", 2, Wait(WaitOn.EVENT)),
        failed("a", 9, code=code),
    ]
    (span,) = spans_of(facts)
    assert (span.attributes["cicd.pipeline.task.run.result"], span.attributes["error.type"]) == (result, code)


def test_an_emitted_event_is_a_message_of_its_span() -> None:
    """The span is the event's creation context: a producer's, to the events exchange."""
    facts: list[Fact] = [
        RunStarted(at=1, steps=["a"]),
        EventEmitted(at=2, step="a", host_index=0, attempt=1, event_id="e", type="com.example.live"),
        TaskDone(at=2, step="a", host_index=0),
    ]
    (span,) = spans_of(facts)
    assert (span.kind, span.start, span.end) == ("producer", 2, 2)
    assert span.attributes["messaging.destination.name"] == "baton.events:com.example.live"
    assert span.attributes["messaging.rabbitmq.destination.routing_key"] == "com.example.live"


def test_a_child_run_stands_below_the_step_that_started_it() -> None:
    """One trace; the parent is ours, not remote; undoing the child is a span of the parent's."""
    step = TRACE.span_of("call", 0, undo=False)
    trace = TraceContext(TRACE.trace_id, "1111111111111111", parent_id=step)
    of_child = replace(head(), trace=trace, parent=ParentRef("r0", "call", 0, 1, 1))
    (child,) = spans_of(
        [
            RunStarted(at=1, steps=[]),
            RunHeld(at=2, output=SECRET),
            RunEnded(at=9, status=RunStatus.SUCCEEDED),
        ],
        of_child,
    )
    assert (child.trace_id, child.parent_id, child.remote_parent) == (TRACE.trace_id, step, False)
    assert child.attributes["baton.parent.run.id"] == "r0"
    wait = Wait(WaitOn.CHILD, child="r2")
    forward, undo = spans_of(
        [
            RunStarted(at=1, steps=["call"]),
            waiting("call", 1, wait),
            TaskDone(at=2, step="call", host_index=0),
            waiting("call", 5, wait, undo=True),
            TaskDone(at=7, step="call", host_index=0, undo=True),
        ]
    )
    assert (forward.span_id, forward.name) == (step, "step call")
    assert (undo.name, undo.start, undo.end, undo.kind) == ("undo call", 5, 7, "internal")


def test_a_fan_out_has_a_span_for_each_task() -> None:
    """Each host's or item's task has its own id and end."""
    hosts = [HostRef("web-1"), HostRef("web-2", {"zone": SECRET}, batch=1)]
    facts: list[Fact] = [
        RunStarted(at=1, steps=["a", "b"]),
        StepExpanded(at=1, step="a", hosts=hosts),
        sent("a", 2),
        succeeded("a", 3),
        BatchPaused(at=3, step="a", batch=0, until=9),
        replace(sent("a", 9, target="agent.web-2"), host_index=1),
        replace(failed("a", 10), host_index=1),
        FailureTolerated(at=10, step="a", host_index=1),
        StepExpanded(at=10, step="b", items=[SECRET]),
        TaskDone(at=11, step="b", host_index=0),
    ]
    first, second, item = spans_of(facts)
    assert [span.span_id for span in (first, second)] == [TRACE.span_of("a", n, undo=False) for n in (0, 1)]
    assert (second.attributes["cicd.pipeline.task.run.id"], second.failed) == ("a/1", True)
    assert item.name == "step b"
    assert SECRET not in repr((first, second, item))


def test_what_a_person_has_done_again_has_another_span() -> None:
    """A parked step retried, and a step reset: each time a span with an id of its own and its own times."""
    facts = [
        RunStarted(at=1, steps=["a"]),
        sent("a", 1),
        failed("a", 2),
        TaskParked(at=2, step="a", host_index=0, why=""),
        TaskResolved(at=5, step="a", host_index=0, decision="retry", who="x"),
        sent("a", 5, attempt=2),
        succeeded("a", 7),
        StepsReset(at=8, steps=["a"], who="x"),
        sent("a", 8, attempt=3),
        succeeded("a", 9),
        RunEnded(at=9, status=RunStatus.SUCCEEDED),
    ]
    *spans, _ = spans_of(facts)
    assert [(span.start, span.end) for span in spans] == [(1, 2), (5, 7), (8, 9)]
    assert [span.failed for span in spans] == [True, False, False]
    assert len({span.span_id for span in spans}) == 3
    for known in range(len(facts)):
        projection = Projection(Origin())
        projection.learn(head(), facts[:known])
        later = [span for fact in facts[known:] if (span := projection.feed("r1", fact))]
        assert later == spans_of(facts)[len(spans_of(facts[:known])) :]


def test_what_people_do_to_a_run_is_on_its_span() -> None:
    """Pauses, moves and the pivot are events of the run; a retry names the run that it goes on from."""
    kept: dict[str, tuple[Task, ...]] = {
        "a": (Task(status=StepStatus.SUCCEEDED, output=SECRET, started_at=1, ended_at=1),)
    }
    facts: list[Fact] = [
        StepsKept(at=1, steps=kept),
        RunQueued(at=1, group=SECRET),
        RunStarted(at=2, steps=["a", "b"]),
        RunPaused(at=3, who=SECRET, why=SECRET),
        RunResumed(at=4, who=SECRET),
        RunMoved(at=5, version="v2hash", steps=["a", "b"], who=SECRET),
        sent("b", 6),
        succeeded("b", 7),
        PivotPassed(at=7, step="b"),
        RunEnded(at=7, status=RunStatus.SUCCEEDED),
    ]
    *steps, root = spans_of(facts, replace(head(), retry_of="r0"))
    assert [span.name for span in steps] == ["step b"]
    assert [event.name for event in root.events] == [
        "baton.paused",
        "baton.resumed",
        "baton.moved",
        "baton.pivot.passed",
    ]
    assert (root.attributes["baton.run.version"], root.attributes["baton.retried.run.id"]) == ("v2hash", "r0")
    assert SECRET not in repr((steps, root))


def test_facts_that_end_nothing_are_no_span() -> None:
    """A hurried retry and a member of a pool that never saw the command leave the span open."""
    begin = [RunStarted(at=1, steps=["a"]), sent("a", 1)]
    denied = NeverSeen(at=2, step="a", host_index=0, command_id="c", agent="web-2")
    hurried = RetryHurried(at=3, step="a", host_index=0, who=SECRET)
    assert spans_of([*begin, denied]) == []
    assert spans_of([*begin, failed("a", 2, retry_at=9), hurried]) == []
