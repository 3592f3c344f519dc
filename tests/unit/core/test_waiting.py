"""Steps without an agent: `wait_for`, `approve`, `sleep`, `emit`."""

from typing import Any

import pytest

from orchestrator.core.inputs import ApproveTask, CancelRun, EventArrived, IllegalInput, Limits
from orchestrator.core.model import StepStatus
from tests.support.machine import Saga, step

EVENT = {"id": "1", "source": "/shop", "type": "paid", "time": "t", "data": {"order": 7, "ok": True}}
SEEN = {**EVENT, "subject": None}


def waits(**fields: Any) -> dict[str, Any]:
    """A step that waits for a payment."""
    return {"id": "w", "wait_for": {"event": "paid", "timeout": "1h", **fields}}


def arrive(saga: Saga, **changes: Any) -> None:
    """An event comes for the step `w`."""
    saga.give(EventArrived({**EVENT, **changes}, [("w", 0)]))


def test_an_event_ends_the_wait_and_is_its_output() -> None:
    """Without what expressions do not need."""
    saga = Saga(waits(), output="${{ steps.w.output }}")
    assert saga.step_status("w") is StepStatus.RUNNING
    arrive(saga)
    assert saga.run.output == SEEN


def test_a_wait_is_filed_under_its_topic_and_value() -> None:
    """So that an event finds it by index: numbers and text alike."""
    correlate = {"from": "event.data.order", "expect": "input.order"}
    saga = Saga(waits(correlate=correlate), given={"order": 7})
    ((place, wait),) = saga.run.waits.items()
    assert (place, wait.topic, wait.value) == (("w", 0), "paid\nevent.data.order", "7")


def test_an_event_for_which_the_condition_is_not_true_is_passed_over() -> None:
    """Also one that the condition cannot be asked of: what comes from outside does not fail a run."""
    saga = Saga(waits(**{"if": "event.data.ok"}))
    arrive(saga, data={"ok": False})
    arrive(saga, data={})
    assert saga.step_status("w") is StepStatus.RUNNING
    arrive(saga)
    assert saga.status == "succeeded"


def test_a_wait_that_nobody_ends_fails_in_time() -> None:
    """Not retryable: the run goes back."""
    saga = Saga(step("a"), waits())
    saga.succeed("a")
    saga.wait(3599)
    assert saga.step_status("w") is StepStatus.RUNNING
    saga.wait(1)
    assert saga.run.failure is not None
    assert saga.run.failure.code == "wait_timed_out"
    assert saga.undone == ["a"]


def test_one_event_serves_one_run_once() -> None:
    """A second wait for the same kind of event wants another event."""
    saga = Saga(waits(), {**waits(), "id": "v"})
    arrive(saga)
    saga.give(EventArrived(EVENT, [("v", 0)]))
    assert saga.step_status("v") is StepStatus.RUNNING
    saga.give(EventArrived({**EVENT, "id": "2"}, [("v", 0)]))
    assert saga.status == "succeeded"


def test_cancel_ends_a_wait_at_once() -> None:
    """There is nobody to ask, and no effect."""
    saga = Saga(step("a"), waits())
    saga.succeed("a")
    saga.give(CancelRun(who="ops", reason="enough"))
    assert saga.step_status("w") is StepStatus.CANCELLED
    assert saga.undone == ["a"]
    arrive(saga)
    assert saga.step_status("w") is StepStatus.CANCELLED


@pytest.mark.parametrize("length", ["90s", "${{ input.text }}", "${{ input.number }}"])
def test_sleep_takes_its_time(length: str) -> None:
    """A duration, or an expression that gives one, or a number of seconds."""
    saga = Saga({"id": "s", "sleep": length}, given={"text": "90s", "number": 90})
    saga.wait(89)
    assert saga.step_status("s") is StepStatus.RUNNING
    saga.wait(1)
    assert saga.status == "succeeded"


@pytest.mark.parametrize(
    ("length", "code"),
    [
        ("-5s", "bad_duration"),
        (-5, "bad_duration"),
        (True, "bad_duration"),
        ([], "bad_duration"),
        (4e7, "wait_too_long"),
        ("800d", "wait_too_long"),
    ],
)
def test_a_sleep_that_cannot_be_fails_the_step(length: Any, code: str) -> None:
    """With a code that says why."""
    saga = Saga({"id": "s", "sleep": "${{ input.x }}"}, given={"x": length})
    assert saga.run.failure is not None
    assert saga.run.failure.code == code


def test_emit_publishes_and_is_done() -> None:
    """Once for an attempt: the id says which."""
    saga = Saga(
        {"id": "e", "emit": {"type": "live", "data": {"v": "${{ input.v }}"}, "subject": "s"}}, given={"v": 3}
    )
    assert saga.status == "succeeded"
    (sent,) = saga.emissions
    assert (sent.id, sent.type, sent.data, sent.subject) == ("run/e/0/1", "live", {"v": 3}, "s")


@pytest.mark.parametrize(("data", "subject"), [("x" * 70_000, ""), ("x" * 61_000, "🎺" * 1_000)])
def test_an_event_that_is_too_large_is_not_published(data: str, subject: str) -> None:
    """The step fails instead; its subject counts."""
    emit = {"type": "live", "data": "${{ input.v }}", "subject": "${{ input.s }}"}
    saga = Saga({"id": "e", "emit": emit}, given={"v": data, "s": subject})
    assert saga.emissions == []
    assert saga.run.failure is not None
    assert saga.run.failure.code == "event_too_large"
    assert "max_event_bytes" in saga.run.failure.message


def test_how_large_an_event_may_be_is_a_setting() -> None:
    """Its attributes have room besides."""
    document = {"id": "e", "emit": {"type": "live", "data": "${{ input.v }}"}}
    for limit, good in ((80 * 1024, True), (72 * 1024, False)):
        limits = Limits(event_bytes=limit)
        saga = Saga(document, given={"v": "x" * 70_000}, limits=limits)
        assert (saga.status == "succeeded") is good


def approval(**fields: Any) -> Saga:
    """A run that waits for a person after a step."""
    saga = Saga(step("a"), {"id": "p", "approve": {"timeout": "1h", **fields}}, step("b"))
    saga.succeed("a")
    return saga


def test_an_approval_lets_the_run_go_on() -> None:
    """Who and why are in the step's output and in the history."""
    saga = approval(by=["ann"])
    assert saga.status == "running"
    saga.give(ApproveTask("p", approved=True, who="ann", why="looks good"))
    assert saga.sent() == ["a", "b"]
    assert saga.task("p").output["by"] == "ann"
    assert saga.task("p").output["why"] == "looks good"


def test_a_rejection_fails_the_step() -> None:
    """And the run goes back."""
    saga = approval()
    saga.give(ApproveTask("p", approved=False, who="ann", why="no"))
    assert saga.run.failure is not None
    assert saga.run.failure.code == "rejected_by_person"
    assert saga.undone == ["a"]


def test_only_those_named_may_approve_and_only_what_waits() -> None:
    """Anything else is refused and changes nothing."""
    saga = approval(by=["ann"])
    with pytest.raises(IllegalInput, match="may not"):
        saga.give(ApproveTask("p", approved=True, who="bob"))
    for name, index in (("a", 0), ("nope", 0), ("p", 1)):
        with pytest.raises(IllegalInput, match="does not wait"):
            saga.give(ApproveTask(name, approved=True, who="ann", host_index=index))


@pytest.mark.parametrize(("policy", "goes_on"), [("approve", True), ("reject", False)])
def test_nobody_answers(policy: str, goes_on: bool) -> None:  # noqa: FBT001
    """The document says what counts then."""
    saga = approval(on_timeout=policy)
    saga.wait(3600)
    assert (saga.sent() == ["a", "b"]) is goes_on
    assert (saga.undone == ["a"]) is not goes_on


def test_the_undo_of_a_step_without_an_agent_goes_where_the_document_says() -> None:
    """What was announced may have to be taken back."""
    undo = {"action": "u", "target": "host-9", "with": {"id": "${{ steps.e.output.id }}"}}
    saga = Saga({"id": "e", "emit": {"type": "live"}, "compensate": undo}, step("b"))
    saga.say(saga.last("b"), "failed")
    assert saga.task("e").target == "agent.host-9"
    assert saga.undone == ["e"]
