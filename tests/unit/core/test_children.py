"""Rule 10: child runs. Signals are delivered by hand, as the coordinator does."""

from typing import Any

import pytest

from orchestrator.core.evolution import fold
from orchestrator.core.inputs import (
    CancelRun,
    ChildEnded,
    IllegalInput,
    MoveRun,
    ReleaseRun,
    ResolveTask,
    ResumeRun,
    RetryFrom,
    UndoRun,
)
from orchestrator.core.model import ParentRef, StepStatus
from schemas.messages import CommandKind
from tests.support.machine import Saga, step

CALL = {"id": "call", "workflow": "inner", "with": {"n": 1}}
UNDO = CommandKind.COMPENSATE


class Family:
    """A run with a step `a`, a child run of these steps, and then a step `z`."""

    def __init__(self, *inner: dict[str, Any], outer: dict[str, Any] | None = None, **document: Any) -> None:
        self.parent = Saga(step("a"), {**CALL, **(outer or {})}, step("z"))
        self.parent.succeed("a")
        start = self.parent.children[-1]
        parent = ParentRef(run_id="run", step="call", host_index=0, attempt=start.attempt, depth=1)
        self.child = Saga(*inner, parent=parent, given=start.input, **document)
        self.told: list[Any] = []
        self.deliver()

    def deliver(self) -> None:
        """Let each hear what the other has to say, until both are silent."""
        while self.parent.signals or self.child.signals:
            for one, other in ((self.parent, self.child), (self.child, self.parent)):
                signals, one.signals = one.signals, []
                for signal in signals:
                    given = signal.given
                    if isinstance(given, ChildEnded):  # in the test every child has the id `run`
                        given = ChildEnded(**{**_fields(given), "run_id": self.parent.children[-1].run_id})
                    self.told.append(given)
                    other.give(given)

    def done(self, *steps: str) -> None:
        """The child's agents do these steps."""
        self.child.succeed(*steps)
        self.deliver()


def _fields(given: ChildEnded) -> dict[str, Any]:
    return {name: getattr(given, name) for name in given.__struct_fields__}


def test_rule_10_a_child_gets_its_input_and_gives_its_output() -> None:
    """The step's output is the child's."""
    family = Family(step("x"), output="${{ input.n + 1 }}")
    assert family.child.run.head.input == {"n": 1}
    family.done("x")
    assert family.parent.task("call").output == 2
    assert family.parent.sent() == ["a", "z"]


def test_rule_10_a_child_that_is_done_waits_for_its_parents_end() -> None:
    """It could still be undone; once the parent has succeeded, so has the child."""
    family = Family(step("x"))
    family.done("x")
    assert family.child.status == "running"
    assert family.child.run.held
    family.parent.succeed("z")
    family.deliver()
    assert family.parent.status == "succeeded"
    assert family.child.status == "succeeded"


def test_rule_10_undoing_a_child_runs_its_own_undos_before_the_parents_earlier_ones() -> None:
    """In reverse: what came after the child, the child's steps last first, what came before it."""
    family = Family(step("x"), step("y"))
    family.done("x", "y")
    family.parent.say(family.parent.last("z"), "failed")
    family.deliver()
    assert family.child.undone == ["y"]
    assert family.parent.undone == []
    family.child.undo("y", "x")
    family.deliver()
    assert family.child.status == "compensated"
    assert family.parent.undone == ["a"]
    family.parent.undo("a")
    assert family.parent.status == "compensated"
    assert family.parent.step_status("call") is StepStatus.COMPENSATED
    assert fold(family.parent.run.head, family.parent.facts) == family.parent.run


def test_rule_10_a_child_that_fails_has_undone_itself_and_fails_the_step() -> None:
    """With the child's id and error; the parent then undoes only its own."""
    family = Family(step("x"), step("y"))
    family.done("x")
    family.child.say(family.child.last("y"), "failed", code="no_space")
    family.child.undo("x")
    family.deliver()
    failure = family.parent.run.failure
    assert failure is not None
    assert (failure.step, failure.code) == ("call", "child_failed")
    assert "no_space" in failure.message
    assert family.parent.undone == ["a"]


def test_of_runs_within_runs_each_gives_the_cause_not_the_way_to_it() -> None:
    """However deep: what failed at the bottom is what the top says."""
    cause = "bottom failed: no_space: the disk is full"
    family = Family({"id": "below", "workflow": "bottom"})
    below = family.child.children[-1].run_id
    family.child.give(ChildEnded("below", 0, below, "failed", code="child_failed", message=cause))
    family.deliver()
    failure = family.parent.run.failure
    assert failure is not None
    assert (failure.code, failure.message) == ("child_failed", cause)


def test_rule_10_cancelling_the_parent_cancels_the_child_first() -> None:
    """Nothing of the parent is undone before the child has ended."""
    family = Family(step("x"), step("y"))
    family.done("x")
    family.parent.give(CancelRun(who="ops", reason="enough"))
    family.deliver()
    assert family.child.sent(CommandKind.CANCEL) == ["y"]
    assert family.parent.undone == []
    family.child.say(family.child.last("y"), "cancelled", started=False)
    family.child.undo("x")
    family.deliver()
    assert family.child.status == "cancelled"
    assert family.parent.step_status("call") is StepStatus.CANCELLED
    family.parent.undo("a")
    assert family.parent.status == "cancelled"


def test_rule_10_a_child_past_its_pivot_cannot_be_undone() -> None:
    """It ends at once; a parent that goes back waits for a person there."""
    family = Family(step("x", pivot=True))
    family.done("x")
    assert family.child.status == "succeeded"
    family.parent.say(family.parent.last("z"), "failed")
    family.deliver()
    assert family.parent.status == "attention"
    assert family.parent.step_status("call") is StepStatus.COMPENSATION_FAILED
    assert family.parent.undone == []
    family.parent.give(ResolveTask(step="call", decision="skip", who="ops"))
    family.parent.undo("a")
    assert family.parent.status == "failed"


def test_rule_10_an_undo_that_a_person_gives_up_on_in_the_child_is_given_up_in_the_parent() -> None:
    """The parent cannot end `compensated` then (rule 11)."""
    family = Family(step("x", compensate={"action": "u", "retry": {"attempts": 1}}))
    family.done("x")
    family.parent.say(family.parent.last("z"), "failed")
    family.deliver()
    family.child.say(family.child.last("x", UNDO), "failed")
    family.deliver()
    assert family.child.status == "attention"
    family.child.give(ResolveTask(step="x", decision="skip", who="ops"))
    family.deliver()
    family.parent.undo("a")
    assert family.parent.status == "failed"
    assert "call" in family.parent.run.reason


def test_rule_10_a_child_with_nothing_to_undo_ends_at_once() -> None:
    """And counts as undone when the parent goes back."""
    family = Family(step("x", compensate=None))
    family.done("x")
    assert family.child.status == "succeeded"
    family.parent.say(family.parent.last("z"), "failed")
    family.deliver()
    assert family.parent.undone == ["a"]


def test_rule_10_another_attempt_is_another_child() -> None:
    """With an id of its own; the first one's word counts no more."""
    parent = Saga({**CALL, "retry": {"attempts": 2}})
    first = parent.children[-1]
    ended = ChildEnded("call", 0, first.run_id, "failed", code="child_failed")
    parent.give(ended)
    parent.wait(5)
    second = parent.children[-1]
    assert second.run_id != first.run_id
    parent.give(ended)
    assert parent.status == "running"
    parent.give(ChildEnded("call", 0, second.run_id, "done"))
    assert parent.status == "succeeded"


def test_rule_10_a_child_with_an_undo_given_up_is_not_tried_again() -> None:
    """What it left is still there; going back, it is that very child that is asked."""
    parent = Saga({**CALL, "retry": {"attempts": 2}})
    child = parent.children[-1].run_id
    parent.give(ChildEnded("call", 0, child, "given_up"))
    assert len(parent.children) == 1
    assert [signal.to for signal in parent.signals] == [child]
    parent.give(ChildEnded("call", 0, child, "given_up"))
    assert parent.status == "failed"


def test_rule_10_children_are_nested_no_deeper_than_the_limit() -> None:
    """One deeper fails its step."""
    deep = ParentRef(run_id="r", step="s", host_index=0, attempt=1, depth=8)
    saga = Saga(CALL, parent=deep)
    assert saga.run.failure is not None
    assert saga.run.failure.code == "too_deep"
    assert saga.children == []


def test_rule_10_a_parent_hears_of_each_end_once() -> None:
    """Done is told when it is done, and not again when it is released."""
    family = Family(step("x"))
    family.done("x")
    family.parent.succeed("z")
    family.deliver()
    kinds = [type(given) for given in family.told]
    assert kinds == [ChildEnded, ReleaseRun]
    assert UndoRun not in kinds


def test_rule_10_a_queued_child_that_is_cancelled_tells_its_parent() -> None:
    """It never began, and the parent must not wait for it for ever."""
    parent = ParentRef(run_id="above", step="call", host_index=0, attempt=1, depth=1)
    child = Saga(step("x"), parent=parent, queued=True)
    move = child.give(CancelRun(who="run above", reason="enough", by_parent=True))
    assert child.status == "cancelled"
    (told,) = move.signals
    assert isinstance(told.given, ChildEnded)
    assert (told.to, told.given.outcome, told.given.code) == ("above", "failed", "child_cancelled")


def test_rule_10_a_child_that_is_released_releases_its_own_children() -> None:
    """The whole family ends when its head has."""
    parent = ParentRef(run_id="above", step="call", host_index=0, attempt=1, depth=1)
    child = Saga(CALL, parent=parent)
    inner = child.children[-1].run_id
    child.give(ChildEnded("call", 0, inner, "done"))
    assert child.run.held
    move = child.give(ReleaseRun())
    assert child.status == "succeeded"
    assert [(signal.to, signal.given) for signal in move.signals] == [(inner, ReleaseRun())]


@pytest.mark.parametrize(
    "given",
    [
        CancelRun(who="ops", reason="no"),
        RetryFrom(step="x", who="ops"),
        MoveRun(to=Saga(step("x"), step("new")).definition, who="ops"),
    ],
)
def test_rule_10_what_a_parent_counts_on_is_not_changed(given: Any) -> None:
    """A child that is done waits for its parent, and for nobody else."""
    family = Family(step("x"))
    family.done("x")
    with pytest.raises(IllegalInput, match="waits for its parent"):
        family.child.give(given)


def test_rule_10_what_a_person_vouches_for_in_a_childs_place_is_not_the_childs_to_undo() -> None:
    """The child may never have been: nobody waits for its word."""
    saga = Saga(step("a"), {**CALL, "on_failure": "pause"}, step("z"))
    saga.succeed("a")
    saga.give(ChildEnded("call", 0, saga.children[-1].run_id, "failed", code="no_such_workflow"))
    saga.give(ResolveTask(step="call", decision="done", who="ops"))
    saga.give(ResumeRun(who="ops"))
    saga.signals.clear()
    saga.say(saga.last("z"), "failed")
    saga.undo("a")
    assert saga.status == "compensated"
    assert saga.signals == []


def test_rule_10_a_parents_cancel_that_meets_a_child_that_is_done_changes_nothing() -> None:
    """The parent hears that it is done, and decides: a child that is its pivot must not undo itself."""
    family = Family(step("x"), outer={"pivot": True})
    family.parent.give(CancelRun(who="ops", reason="enough"))
    family.child.succeed("x")
    family.deliver()
    assert family.child.undone == []
    assert family.parent.sent() == ["a", "z"]
    family.parent.succeed("z")
    family.deliver()
    assert (family.parent.status, family.child.status) == ("succeeded", "succeeded")


def test_rule_10_a_child_that_left_something_is_not_done_once_more_by_a_person() -> None:
    """What it did is still there, and only that very child can undo it."""
    saga = Saga(step("a"), {**CALL, "on_failure": "pause"})
    saga.succeed("a")
    child = saga.children[-1].run_id
    saga.give(ChildEnded("call", 0, child, "given_up"))
    with pytest.raises(IllegalInput, match="cannot be forgotten"):
        saga.give(ResolveTask(step="call", decision="retry", who="ops"))
    assert len(saga.children) == 1
    saga.give(CancelRun(who="ops", reason="enough"))
    assert [signal.to for signal in saga.signals] == [child]


def test_rule_10_a_child_that_never_began_is_not_asked_to_undo_what_was_before_it() -> None:
    """A person vouched for the step and then had it done again: the new child could not be started."""
    saga = Saga(step("a"), {**CALL, "on_failure": "pause"}, step("z", on_failure="pause"))
    saga.succeed("a")
    saga.give(ChildEnded("call", 0, saga.children[-1].run_id, "failed", code="no_such_workflow"))
    saga.give(ResolveTask(step="call", decision="done", who="ops"))
    saga.give(ResumeRun(who="ops"))
    saga.say(saga.last("z"), "failed")
    saga.give(RetryFrom(step="call", who="ops"))
    saga.give(ChildEnded("call", 0, saga.children[-1].run_id, "failed", code="group_busy"))
    assert saga.step_status("call") is StepStatus.FAILED
    saga.give(CancelRun(who="ops", reason="enough"))
    saga.undo("a")
    assert saga.signals == []
    assert saga.status == "cancelled"


def test_rule_10_a_child_whose_step_a_person_skips_ends_with_its_parent() -> None:
    """It did its steps, but its output was of no use; it does not wait for its parent for ever."""
    family = Family(step("x"), outer={"on_failure": "pause", "output": "${{ steps.call.output.none }}"})
    family.done("x")
    assert family.child.run.held
    family.parent.give(ResolveTask(step="call", decision="skip", who="ops"))
    family.parent.give(ResumeRun(who="ops"))
    family.parent.succeed("z")
    family.deliver()
    assert (family.parent.status, family.child.status) == ("succeeded", "succeeded")
