"""Spans from facts: exactly these, with these parents, times and attributes."""

from collections.abc import Iterable

import pytest

from orchestrator.core.facts import (
    AttemptStarted,
    CancelSent,
    Fact,
    RunEnded,
    RunGoingBack,
    RunStarted,
    TaskCancelled,
    TaskInDoubt,
    TaskResolved,
    TaskSkipped,
)
from orchestrator.core.model import Failure, RunHead, RunStatus, StepStatus, TraceContext
from orchestrator.telemetry.projection import Origin, Projection, SpanRecord
from orchestrator.telemetry.stories import MAX_EVENTS, SpanEvent
from schemas.names import Topology
from tests.support.facts import SECRET, TRACE, failed, going_back, head, sent, succeeded


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
