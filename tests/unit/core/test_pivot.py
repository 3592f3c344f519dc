"""Rule 6: past the pivot there is no way back."""

import pytest

from orchestrator.core.evolution import fold
from orchestrator.core.inputs import CancelRun, IllegalInput, ResolveTask
from orchestrator.core.model import StepStatus
from schemas.messages import CommandKind
from tests.support.machine import Saga, chain, step


def test_rule_6_after_the_pivot_succeeded_nothing_is_undone() -> None:
    """A later step that fails for good waits for a person; what was done before stays done."""
    saga = Saga(*chain("a"), step("p", pivot=True), step("c"))
    saga.succeed("a", "p")
    saga.say(saga.last("c"), "failed")
    assert saga.undone == []
    assert saga.status == "attention"
    assert saga.step_status("c") is StepStatus.FAILED


def test_rule_6_later_steps_retry_before_they_park() -> None:
    """The pivot takes away the way back, not the attempts."""
    saga = Saga(step("p", pivot=True), step("c", retry={"attempts": 2}))
    saga.succeed("p")
    saga.say(saga.last("c"), "failed")
    assert saga.status == "running"
    saga.wait(5)
    assert saga.sent() == ["p", "c", "c"]
    saga.say(saga.last("c"), "failed")
    assert saga.status == "attention"


@pytest.mark.parametrize("decision", ["retry", "skip", "done"])
def test_rule_6_a_person_moves_a_parked_step_on(decision: str) -> None:
    """By another attempt, by leaving it out, or by having done it: the run ends well."""
    saga = Saga(step("p", pivot=True), step("c"), step("d"))
    saga.succeed("p")
    saga.say(saga.last("c"), "failed")
    saga.give(ResolveTask(step="c", decision=decision, who="ops"))
    if decision == "retry":
        assert saga.last("c").attempt == 2
        saga.succeed("c")
    saga.succeed("d")
    assert saga.status == "succeeded"


def test_rule_6_cancel_is_refused_past_the_pivot() -> None:
    """And the refusal changes nothing."""
    saga = Saga(step("p", pivot=True), step("c"))
    saga.succeed("p")
    before = saga.run
    with pytest.raises(IllegalInput, match="pivot"):
        saga.give(CancelRun(who="ops", reason="too late"))
    assert saga.run is before


def test_rule_6_a_pivot_that_fails_is_undone_like_any_step() -> None:
    """The way back is open until the pivot succeeded."""
    saga = Saga(*chain("a"), step("p", pivot=True), step("c"))
    saga.succeed("a")
    saga.say(saga.last("p"), "failed")
    assert saga.undone == ["a"]


def test_rule_6_a_pivot_that_succeeds_while_the_run_quiesces_ends_the_way_back() -> None:
    """What had not begun is taken up again, and the failed branch waits for a person."""
    saga = Saga(step("a"), step("p", pivot=True), step("c"), step("side", needs=["a"]))
    saga.succeed("a")
    saga.say(saga.last("side"), "failed")
    assert saga.status == "compensating"
    assert saga.sent(CommandKind.CANCEL) == ["p"]
    saga.succeed("p")
    assert saga.status == "attention"
    assert saga.undone == []
    assert saga.sent() == ["a", "p", "side", "c"]
    saga.succeed("c")
    saga.give(ResolveTask(step="side", decision="done", who="ops"))
    assert saga.status == "succeeded"
    assert fold(saga.run.head, saga.facts) == saga.run


def test_rule_6_a_person_who_cancelled_too_late_finds_the_run_going_on() -> None:
    """The pivot's success wins over a cancel that was under way."""
    saga = Saga(step("a"), step("p", pivot=True), step("c"))
    saga.succeed("a")
    saga.give(CancelRun(who="ops", reason="enough"))
    saga.succeed("p")
    assert saga.status == "running"
    saga.succeed("c")
    assert saga.status == "succeeded"


def test_rule_6_a_run_that_is_too_slow_past_the_pivot_goes_on() -> None:
    """The run's time limit would turn it round; there is no way round any more."""
    saga = Saga(step("p", pivot=True), step("c", timeout="2h"), timeout="10m")
    saga.succeed("p")
    saga.wait(700)
    assert saga.status == "running"
    saga.succeed("c")
    assert saga.status == "succeeded"


def test_rule_6_a_skipped_pivot_is_no_point_of_no_return() -> None:
    """What was not done cannot bar the way."""
    saga = Saga(*chain("a"), step("p", pivot=True, **{"if": "false"}), step("c"))
    saga.succeed("a")
    saga.say(saga.last("c"), "failed")
    assert saga.undone == ["a"]
