"""What people do: pause, resume, retry, resolve, move; each is in the history with who and why."""

from typing import Any

import pytest

from orchestrator.core.compiler import compile_definition
from orchestrator.core.evolution import fold
from orchestrator.core.facts import RunPaused, StepsReset, TaskResolved
from orchestrator.core.inputs import (
    AdmitRun,
    CancelRun,
    IllegalInput,
    MoveRun,
    PauseRun,
    ResolveTask,
    ResumeRun,
    RetryFrom,
    RetryNow,
)
from orchestrator.core.model import StepStatus
from schemas.errors import InvalidInput
from schemas.workflow import Workflow
from tests.support.machine import Saga, chain, step

import msgspec  # isort: skip


# Pause


def test_a_paused_run_starts_nothing_and_takes_what_comes() -> None:
    """What ran goes on and its result counts; what follows waits for `resume`."""
    saga = Saga(*chain("a", "b"))
    saga.give(PauseRun(who="ops", why="change freeze"))
    assert saga.status == "paused"
    saga.succeed("a")
    assert saga.sent() == ["a"]
    saga.give(ResumeRun(who="ops"))
    assert saga.sent() == ["a", "b"]


def test_a_paused_run_makes_no_retry_and_no_undo() -> None:
    """Both come with `resume`, at once if they are due."""
    saga = Saga(*chain("a"), step("b", retry={"attempts": 2}))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    saga.give(PauseRun(who="ops"))
    assert saga.run.wake_at is None
    saga.wait(100)
    assert saga.sent() == ["a", "b"]
    saga.give(ResumeRun(who="ops"))
    saga.wait(0)
    assert saga.sent() == ["a", "b", "b"]
    saga.give(PauseRun(who="ops"))
    saga.say(saga.last("b"), "failed")
    assert saga.undone == []
    assert saga.status == "paused"
    saga.give(ResumeRun(who="ops"))
    assert saga.undone == ["a"]


def test_cancelling_a_paused_run_undoes_it() -> None:
    """Nobody has to resume it first."""
    saga = Saga(*chain("a", "b"))
    saga.succeed("a")
    saga.give(PauseRun(who="ops"))
    saga.give(CancelRun(who="ops", reason="enough"))
    saga.say(saga.last("b"), "cancelled", started=False)
    assert saga.undone == ["a"]


@pytest.mark.parametrize("given", [ResumeRun(who="x"), RetryNow(who="x"), RetryFrom(step="nope", who="x")])
def test_a_move_that_makes_no_sense_is_refused(given: Any) -> None:
    """And changes nothing."""
    saga = Saga(*chain("a"))
    before = saga.run
    with pytest.raises(IllegalInput):
        saga.give(given)
    assert saga.run is before


# What a failure leads to


def test_on_failure_pause_waits_for_a_person() -> None:
    """The run is paused; `retry` and `resume` let it go on."""
    saga = Saga(*chain("a"), step("b", on_failure="pause"), step("c"))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    assert saga.status == "paused"
    assert any(isinstance(fact, RunPaused) for fact in saga.facts)
    saga.give(ResolveTask(step="b", decision="retry", who="ops", why="disk is free"))
    saga.give(ResumeRun(who="ops"))
    saga.wait(0)
    saga.succeed("b", "c")
    assert saga.status == "succeeded"


def test_on_failure_pause_can_still_be_cancelled() -> None:
    """Then it is undone like any other."""
    saga = Saga(*chain("a"), step("b", on_failure="pause"))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    saga.give(CancelRun(who="ops", reason="no"))
    assert saga.undone == ["a"]
    saga.undo("a")
    assert saga.status == "cancelled"


def test_on_failure_continue_goes_on_without_the_step() -> None:
    """It stays failed, and what needs it runs."""
    saga = Saga(step("a", on_failure="continue"), step("b"))
    saga.say(saga.last("a"), "failed")
    saga.succeed("b")
    assert saga.status == "succeeded"
    assert saga.step_status("a") is StepStatus.FAILED


# The run's own time limit, and its group


def test_a_run_past_its_time_limit_goes_back() -> None:
    """Whatever its steps' own limits."""
    saga = Saga(*chain("a", "b"), timeout="5m")
    saga.succeed("a")
    saga.wait(300)
    assert saga.run.failure is not None
    assert saga.run.failure.code == "run_timed_out"
    saga.say(saga.last("b"), "cancelled", started=False)
    assert saga.undone == ["a"]


def test_a_queued_run_does_nothing_until_it_is_admitted() -> None:
    """Its time limit counts from then on."""
    saga = Saga(*chain("a"), queued=True, timeout="5m")
    assert saga.status == "queued"
    assert saga.commands == []
    saga.wait(1_000)
    saga.give(AdmitRun())
    assert saga.status == "running"
    assert saga.sent() == ["a"]


def test_a_queued_run_that_is_cancelled_did_nothing() -> None:
    """It ends `cancelled`; room that comes later is not for it."""
    saga = Saga(*chain("a"), queued=True)
    saga.give(CancelRun(who="ops", reason="enough"))
    assert saga.status == "cancelled"
    saga.give(AdmitRun())
    assert saga.commands == []


# Retries


def test_retry_now_does_not_wait_for_the_pause_between_attempts() -> None:
    """The attempt is made at once, and counts as always."""
    saga = Saga(step("a", retry={"attempts": 2, "delay": "1h", "max_delay": "1h"}))
    saga.say(saga.last("a"), "failed")
    saga.give(RetryNow(who="ops"))
    assert saga.last("a").attempt == 2
    saga.say(saga.last("a"), "failed")
    assert saga.status == "failed"


def test_retry_from_a_step_does_it_and_what_depends_on_it_again() -> None:
    """With new attempts; everything else keeps its results."""
    saga = Saga(*chain("a", "b"), step("c", on_failure="pause"), step("side", needs=["a"]))
    saga.succeed("a", "b", "side")
    saga.say(saga.last("c"), "failed")
    saga.give(RetryFrom(step="b", who="ops", why="b gave a wrong answer"))
    assert any(isinstance(fact, StepsReset) for fact in saga.facts)
    assert saga.sent() == ["a", "b", "side", "c", "b"]
    assert saga.last("b").attempt == 2
    saga.succeed("b", "c")
    assert saga.status == "succeeded"
    assert fold(saga.run.head, saga.facts) == saga.run


def test_a_fan_out_that_was_reset_waits_again_for_what_it_needs() -> None:
    """Also one that had its tasks already."""
    saga = Saga(
        *chain("a"), step("b", foreach="input.list"), step("c", on_failure="pause"), given={"list": [1, 2]}
    )
    saga.succeed("a")
    for index in (0, 1):
        saga.say(saga.last("b", index=index), "succeeded")
    saga.say(saga.last("c"), "failed")
    saga.give(RetryFrom(step="a", who="ops"))
    assert saga.sent() == ["a", "b", "b", "c", "a"]
    saga.succeed("a")
    assert saga.sent() == ["a", "b", "b", "c", "a", "b", "b"]


def test_a_fan_out_that_is_to_be_done_again_waits_for_what_it_needs() -> None:
    """Its tasks are known already, but not their turn."""
    saga = Saga(
        step("a"), step("s", foreach="input.list"), step("t", on_failure="pause"), given={"list": [1, 2]}
    )
    saga.succeed("a")
    for index in range(2):
        saga.say(saga.last("s", index=index), "succeeded")
    saga.say(saga.last("t"), "failed")
    saga.give(RetryFrom(step="a", who="ops"))
    assert saga.sent() == ["a", "s", "s", "t", "a"]
    saga.succeed("a")
    assert saga.sent() == ["a", "s", "s", "t", "a", "s", "s"]


def test_what_was_reset_is_still_undone() -> None:
    """The first effect did not go away by doing it again."""
    saga = Saga(*chain("a"), step("b", on_failure="pause"))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    saga.give(RetryFrom(step="a", who="ops"))
    saga.say(saga.last("a"), "failed")
    assert saga.undone == ["a"]


def test_a_step_under_way_cannot_be_retried_from() -> None:
    """Two attempts of one task never run side by side."""
    saga = Saga(*chain("a", "b"))
    saga.succeed("a")
    with pytest.raises(IllegalInput, match="under way"):
        saga.give(RetryFrom(step="a", who="ops"))


def test_decisions_are_kept_with_who_and_why() -> None:
    """The history answers who did that."""
    saga = Saga(step("a", on_failure="pause"))
    saga.say(saga.last("a"), "failed")
    saga.give(ResolveTask(step="a", decision="done", who="ann", why="did it by hand", output={"x": 1}))
    resolved = [fact for fact in saga.facts if isinstance(fact, TaskResolved)]
    assert [(fact.who, fact.why, fact.output) for fact in resolved] == [("ann", "did it by hand", {"x": 1})]


# Another version


def version(*steps: dict[str, Any], **document: Any) -> Any:
    """A definition of the same workflow."""
    return compile_definition(
        msgspec.convert({"workflow": "test", "steps": list(steps), **document}, Workflow)
    )


def test_a_run_moves_to_a_version_in_which_what_it_has_begun_is_the_same() -> None:
    """From there on it follows the new one."""
    saga = Saga(*chain("a", "b"))
    saga.succeed("a")
    to = version(*chain("a", "b"), step("new"))
    saga.give(MoveRun(to=to, who="ops", why="hotfix"))
    saga.definition = to
    assert saga.run.version == to.version
    saga.succeed("b", "new")
    assert saga.status == "succeeded"
    assert fold(saga.run.head, saga.facts) == saga.run


@pytest.mark.parametrize(
    "steps",
    [
        [step("a", timeout="1m"), step("b")],
        [step("b")],
        [step("x", needs=[]), step("a"), step("b")],
    ],
)
def test_a_run_does_not_move_where_what_it_has_begun_differs(steps: list[dict[str, Any]]) -> None:
    """A changed step, one that is gone, one whose needs differ: refused, with the reason."""
    saga = Saga(*chain("a", "b"))
    saga.succeed("a")
    before = saga.run
    with pytest.raises(IllegalInput, match="has begun"):
        saga.give(MoveRun(to=version(*steps), who="ops"))
    assert saga.run is before


def test_a_run_does_not_move_to_a_version_that_its_input_does_not_fit() -> None:
    """Every expression of the new version may read it."""
    saga = Saga(*chain("a", "b"))
    schema = {"type": "object", "required": ["x"]}
    with pytest.raises(IllegalInput, match="input"):
        saga.give(MoveRun(to=version(*chain("a", "b", "c"), input=schema), who="ops"))


# Limits


def test_a_run_past_its_time_limit_while_it_is_paused_goes_back_when_it_is_resumed() -> None:
    """Not before: a paused run does nothing new; and not `succeeded`, though its steps are done by then."""
    saga = Saga(*chain("a", "b"), timeout="5m")
    saga.succeed("a")
    saga.give(PauseRun(who="ops"))
    saga.wait(400)
    saga.succeed("b")
    assert saga.status == "paused"
    saga.give(ResumeRun(who="ops"))
    assert saga.run.failure is not None
    assert saga.run.failure.code == "run_timed_out"
    assert saga.undone == ["b"]


def test_a_pivot_that_is_done_in_the_move_that_finds_the_time_over_counts() -> None:
    """What cannot be undone is not undone for being late."""
    saga = Saga(*chain("a"), step("p", pivot=True), timeout="5m")
    saga.succeed("a")
    saga.now += 400_000_000
    saga.succeed("p")
    assert saga.status == "succeeded"


BIG = "x" * 300_000


def test_an_output_that_is_too_large_fails_the_step_wherever_it_comes_from() -> None:
    """A template's, an event's, a child's, a person's; what was done is undone, and the limit is named."""
    template = Saga(step("a", output="${{ steps.a.output + steps.a.output }}"))
    template.say(template.last("a"), "succeeded", output="x" * 200_000)
    assert template.run.failure is not None
    assert template.run.failure.code == "output_too_large"
    assert "max_output_bytes" in template.run.failure.message
    assert template.undone == ["a"]
    whole = Saga(*chain("a"), output="${{ input.big + input.big }}", given={"big": BIG[:200_000]})
    whole.succeed("a")
    assert whole.run.failure is not None
    assert whole.run.failure.code == "output_too_large"
    parked = Saga(step("a", on_failure="pause"))
    parked.say(parked.last("a"), "failed")
    with pytest.raises(InvalidInput, match="max_output_bytes"):
        parked.give(ResolveTask(step="a", decision="done", who="ops", output=BIG))
