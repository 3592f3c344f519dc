"""The saga rules of docs/rules.md, one by one, on the pure machine. Rule 1 is tested where the inbox is."""

import pytest

from orchestrator.core.evolution import fold
from orchestrator.core.facts import ResultIgnored
from orchestrator.core.inputs import (
    CancelRun,
    CommandExpired,
    CommandReturned,
    IllegalInput,
    ResolveTask,
)
from orchestrator.core.model import RunStatus, StepStatus
from schemas.codec import encode
from schemas.messages import CommandKind, ErrorInfo
from tests.support.machine import Saga, chain, step


def test_a_linear_run_goes_forward_step_by_step() -> None:
    """Each step starts when the one above it is done; the run succeeds after the last."""
    saga = Saga(*chain("a", "b", "c"), output="${{ steps.c.output.n }}")
    assert saga.sent() == ["a"]
    saga.succeed("a", "b")
    assert saga.sent() == ["a", "b", "c"]
    saga.say(saga.last("c"), "succeeded", output={"n": 3})
    assert saga.status is RunStatus.SUCCEEDED
    assert saga.run.output == 3


def test_branches_go_side_by_side() -> None:
    """`needs: []` starts at once; a join waits for all of its branches."""
    saga = Saga(step("a"), step("b", needs=[]), step("join", needs=["a", "b"]))
    assert saga.sent() == ["a", "b"]
    saga.succeed("b")
    assert saga.sent() == ["a", "b"]
    saga.succeed("a")
    assert saga.sent() == ["a", "b", "join"]


def test_a_step_whose_if_is_false_is_skipped_and_what_needs_it_still_runs() -> None:
    """Skipped steps count as done, and are not undone."""
    saga = Saga(step("a", **{"if": "input.go"}), step("b"), given={"go": False})
    assert saga.step_status("a") is StepStatus.SKIPPED
    assert saga.sent() == ["b"]
    saga.say(saga.last("b"), "failed")
    assert saga.undone == []
    assert saga.status is RunStatus.FAILED


# Rule 2


def test_rule_2_attempts_default_to_three_if_idempotent_else_one() -> None:
    """A failing step is tried three times if it is idempotent, once if not; every attempt counts."""
    once = Saga(step("a"))
    once.say(once.last("a"), "failed")
    assert once.status is RunStatus.FAILED
    thrice = Saga(step("a", idempotent=True))
    for _ in range(3):
        thrice.say(thrice.last("a"), "failed")
        thrice.wait(60)
    assert thrice.sent() == ["a", "a", "a"]
    assert [command.attempt for command in thrice.commands] == [1, 2, 3]
    assert thrice.status is RunStatus.FAILED


def test_rule_2_the_next_attempt_waits_for_its_delay() -> None:
    """No retry before its time; the delay doubles up to its limit."""
    saga = Saga(step("a", retry={"attempts": 5, "delay": "10s", "backoff": 2, "max_delay": "25s"}))
    waits = []
    for _ in range(4):
        saga.say(saga.last("a"), "failed")
        due = saga.run.wake_at
        assert due is not None
        waits.append((due - saga.now) / 1_000_000)
        sent = len(saga.commands)
        saga.wait(waits[-1] - 0.001)
        assert len(saga.commands) == sent
        saga.wait(0.001)
        assert len(saga.commands) == sent + 1
    assert waits == [10, 20, 25, 25]


def test_rule_2_an_error_that_is_not_retryable_fails_at_once() -> None:
    """Attempts are not spent on what would fail the same way again."""
    saga = Saga(step("a", idempotent=True))
    saga.say(saga.last("a"), "rejected", code="bad_arguments", retryable=False)
    assert saga.sent() == ["a"]
    assert saga.status is RunStatus.FAILED
    assert saga.run.failure is not None
    assert (saga.run.failure.step, saga.run.failure.code) == ("a", "bad_arguments")


def test_rule_2_an_expression_that_fails_fails_its_step_and_the_run_goes_back() -> None:
    """A missing field is an error, not null; it is not retried and nothing is sent."""
    saga = Saga(step("a"), step("b", idempotent=True, **{"with": {"x": "${{ steps.a.output.nope }}"}}))
    saga.succeed("a")
    assert saga.sent() == ["a"]
    assert saga.undone == ["a"]
    error = saga.task("b").error
    assert error is not None
    assert error.code == "expression_error"


def test_rule_2_an_unknown_agent_fails_the_step_and_is_named() -> None:
    """A returned command is `agent_unknown`; trying again would not help."""
    saga = Saga(step("a", idempotent=True, target="web-9"))
    saga.give(CommandReturned(saga.last("a")))
    error = saga.task("a").error
    assert error is not None
    assert error.code == "agent_unknown"
    assert "web-9" in error.message
    assert saga.status is RunStatus.FAILED


# Rule 3


def test_rule_3_running_steps_are_cancelled_and_known_before_any_undo() -> None:
    """The failing branch waits for the other to stop before the common ancestor is undone."""
    saga = Saga(step("root"), step("left", needs=["root"]), step("right", needs=["root"]), step("never"))
    saga.succeed("root")
    saga.say(saga.last("left"), "failed")
    assert saga.status is RunStatus.COMPENSATING
    assert saga.sent(CommandKind.CANCEL) == ["right"]
    assert saga.last("right", CommandKind.CANCEL).args["command_id"] == saga.last("right").id
    assert saga.undone == []
    assert saga.step_status("never") is StepStatus.CANCELLED
    saga.say(saga.last("right"), "cancelled")
    assert saga.undone == ["right"], "killed after it started: it has effect"
    saga.undo("right")
    assert saga.undone == ["right", "root"]


def test_rule_3_a_waiting_retry_is_given_up_when_the_run_goes_back() -> None:
    """Nothing new goes forward, not even a retry that was promised."""
    saga = Saga(step("a", needs=[], retry={"attempts": 5, "delay": "10s"}), step("b", needs=[]))
    saga.say(saga.last("a"), "failed")
    saga.say(saga.last("b"), "failed")
    assert saga.step_status("a") is StepStatus.CANCELLED
    saga.wait(100)
    assert saga.sent() == ["a", "b"]
    assert saga.status is RunStatus.FAILED


def test_rule_3_a_step_that_succeeds_while_it_is_cancelled_is_undone() -> None:
    """Too late to cancel is a success, with effect."""
    saga = Saga(step("a", needs=[]), step("b", needs=[]))
    saga.say(saga.last("b"), "failed")
    saga.succeed("a")
    assert saga.undone == ["a"]


def test_rule_3_a_pool_is_cancelled_once_it_is_known_who_has_it() -> None:
    """The cancel goes to the agent that took the command, as soon as it says so."""
    saga = Saga(step("a", needs=[], target={"pool": "p"}), step("b", needs=[]))
    saga.say(saga.last("b"), "failed")
    assert saga.sent(CommandKind.CANCEL) == []
    move = saga.say(saga.last("a"), "started", agent="host-7")
    assert [dispatch.target for dispatch in move.commands] == ["agent.host-7"]


# Rule 4


def test_rule_4_undo_in_reverse_dependency_order() -> None:
    """In a diamond both sides are undone side by side, and the root after both."""
    saga = Saga(
        step("root"),
        step("left", needs=["root"]),
        step("right", needs=["root"]),
        step("join", needs=["left", "right"]),
        step("last"),
    )
    saga.succeed("root", "left", "right", "join")
    saga.say(saga.last("last"), "failed")
    assert saga.undone == ["join"]
    saga.undo("join")
    assert sorted(saga.undone[1:]) == ["left", "right"]
    saga.undo("left")
    assert "root" not in saga.undone
    saga.undo("right")
    assert saga.undone[-1] == "root"
    saga.undo("root")
    assert saga.status is RunStatus.COMPENSATED


def test_rule_4_order_holds_across_steps_without_undo() -> None:
    """A step without an undo in the middle does not let its ancestor go first."""
    saga = Saga(step("a"), step("b", compensate=None), step("c"), step("d"))
    saga.succeed("a", "b", "c")
    saga.say(saga.last("d"), "failed")
    assert saga.undone == ["c"]
    saga.undo("c")
    assert saga.undone == ["c", "a"]


@pytest.mark.parametrize(
    ("status", "started", "undone"),
    [
        ("failed", True, []),
        ("rejected", False, []),
        ("timed_out", True, ["a"]),
        ("timed_out", False, []),
        ("cancelled", True, ["a"]),
        ("cancelled", False, []),
    ],
)
def test_rule_4_what_was_killed_after_it_started_has_effect(
    status: str, *, started: bool, undone: list[str]
) -> None:
    """A step that reported failure has none; one that was killed has, if it had started."""
    saga = Saga(step("a"))
    saga.say(saga.last("a"), status, started=started)
    assert saga.undone == undone


def test_rule_4_after_failure_undoes_what_reported_failure() -> None:
    """`after_failure: true` says that a failed attempt leaves something behind."""
    saga = Saga(step("a", compensate={"action": "undo.a", "after_failure": True}))
    saga.say(saga.last("a"), "failed")
    assert saga.undone == ["a"]


def test_rule_4_an_effect_of_an_earlier_attempt_is_not_forgotten() -> None:
    """Killed, tried again, then failed: the first attempt's effect is undone."""
    saga = Saga(step("a", retry={"attempts": 2, "delay": "1s"}))
    saga.say(saga.last("a"), "timed_out")
    saga.wait(2)
    saga.say(saga.last("a"), "failed")
    assert saga.undone == ["a"]


def test_rule_4_the_undo_goes_to_the_agent_with_the_effect() -> None:
    """Of a pool, the one that did it; and the undo sees the step's output and why the run goes back."""
    undo = {"action": "undo.a", "with": {"what": "${{ steps.a.output.x }}", "why": "${{ failure.code }}"}}
    saga = Saga(step("a", target={"pool": "p"}, compensate=undo), step("b"))
    saga.say(saga.last("a"), "succeeded", agent="host-7", output={"x": 1})
    move = saga.say(saga.last("b"), "failed", code="no_luck")
    assert [dispatch.target for dispatch in move.commands] == ["agent.host-7"]
    assert saga.last("a", CommandKind.COMPENSATE).args == {"what": 1, "why": "no_luck"}


def test_rule_4_an_output_that_cannot_be_used_is_still_an_effect() -> None:
    """A step whose `output` template fails has failed, but what it did is undone."""
    saga = Saga(step("a", output={"x": "${{ steps.a.output.nope }}"}))
    saga.say(saga.last("a"), "succeeded", output={})
    assert saga.undone == ["a"]


# Rule 5


def test_rule_5_an_undo_is_tried_ten_times_and_then_waits_for_a_person() -> None:
    """The run is in attention; independent undos go on."""
    saga = Saga(step("a", needs=[]), step("b", needs=[]), step("c", needs=["a", "b"]))
    saga.succeed("a", "b")
    saga.say(saga.last("c"), "failed")
    for _ in range(10):
        saga.say(saga.last("a", CommandKind.COMPENSATE), "failed")
        saga.wait(1_000)
    assert saga.undone.count("a") == 10
    assert saga.status is RunStatus.ATTENTION
    assert saga.step_status("a") is StepStatus.COMPENSATION_FAILED
    assert saga.task("b").status is StepStatus.IN_DOUBT, "its undo was never answered"
    saga.undo("b")
    assert saga.step_status("b") is StepStatus.COMPENSATED
    assert saga.status is RunStatus.ATTENTION


@pytest.mark.parametrize(
    ("decision", "end"),
    [("done", RunStatus.COMPENSATED), ("skip", RunStatus.FAILED), ("retry", RunStatus.COMPENSATED)],
)
def test_rule_5_a_person_retries_skips_or_marks_it_done(decision: str, end: RunStatus) -> None:
    """And the run goes on from there; giving up on an undo is a failed run."""
    saga = Saga(step("a", compensate={"action": "undo.a", "retry": {"attempts": 1}}), step("b"))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    saga.say(saga.last("a", CommandKind.COMPENSATE), "failed")
    assert saga.status is RunStatus.ATTENTION
    saga.give(ResolveTask(step="a", decision=decision, who="ops", why="looked at it"))
    if decision == "retry":
        assert saga.undone == ["a", "a"]
        saga.undo("a")
    assert saga.status is end


# Rule 7


def test_rule_7_an_unknown_outcome_is_not_a_failure() -> None:
    """Past its deadline a step is in doubt and its agent is asked; nobody answers: a person must look.

    Nothing is undone or retried.
    """
    saga = Saga(step("a"), step("b"))
    saga.succeed("a")
    saga.wait(10_000)
    assert saga.step_status("b") is StepStatus.IN_DOUBT
    assert saga.sent(CommandKind.QUERY) == ["b"]
    assert saga.status == "running"
    saga.wait(60)
    assert saga.status is RunStatus.ATTENTION
    assert saga.undone == []
    assert saga.sent() == ["a", "b"]


def test_rule_7_a_late_answer_resolves_the_doubt() -> None:
    """The outstanding attempt's own result is taken whenever it comes."""
    saga = Saga(step("a"))
    saga.wait(10_000)
    saga.succeed("a")
    assert saga.status is RunStatus.SUCCEEDED


def test_rule_7_started_then_lost_is_retried_only_if_idempotent() -> None:
    """Harmless to repeat: repeated. Not harmless: in doubt."""
    harmless = Saga(step("a", idempotent=True))
    harmless.say(harmless.last("a"), "unknown")
    harmless.wait(5)
    assert harmless.sent() == ["a", "a"]
    harmful = Saga(step("a", retry={"attempts": 5}))
    harmful.say(harmful.last("a"), "unknown")
    harmful.wait(5)
    assert harmful.sent() == ["a"]
    assert harmful.step_status("a") is StepStatus.IN_DOUBT


def test_rule_7_a_command_that_expired_unconsumed_is_safe_to_retry() -> None:
    """`agent_unavailable`, retryable, and without effect."""
    saga = Saga(step("a", idempotent=True))
    saga.give(CommandExpired(saga.last("a")))
    saga.wait(5)
    assert saga.sent() == ["a", "a"]
    assert not saga.task("a").effect


def test_rule_7_a_step_in_doubt_holds_up_the_undo() -> None:
    """Quiescing needs a known outcome; an answer or a person gives it."""
    saga = Saga(step("a", needs=[]), step("b", needs=[]))
    saga.say(saga.last("a"), "unknown")
    saga.say(saga.last("b"), "failed")
    assert saga.status is RunStatus.ATTENTION
    assert saga.undone == []
    saga.give(ResolveTask(step="a", decision="done", who="ops"))
    assert saga.undone == ["a"]


# Rule 8


def test_rule_8_a_late_or_duplicate_result_changes_nothing_and_is_recorded() -> None:
    """Old attempts, other hosts, answers after the end: only the history grows."""
    saga = Saga(step("a", retry={"attempts": 2, "delay": "1s"}), step("b"))
    first = saga.last("a")
    saga.say(first, "failed")
    saga.wait(2)
    second = saga.last("a")
    for command, changes in (
        (first, {}),
        (second, {"agent": "host-2"}),
        (second, {"attempt": 1}),
        (second, {"step": "nope"}),
        (second, {"host_index": 3}),
    ):
        before = saga.run
        move = saga.say(command, "succeeded", **changes)
        assert move.run.steps == before.steps
        assert [type(fact) for fact in move.facts] == [ResultIgnored]
        assert not move.commands


def test_rule_8_a_flood_of_late_results_does_not_fill_the_history() -> None:
    """Only so many are recorded."""
    saga = Saga(step("a"))
    saga.succeed("a")
    for _ in range(500):
        saga.succeed("a")
    assert len(saga.facts) < 120
    assert saga.status is RunStatus.SUCCEEDED


# Rule 9


def test_rule_9_cancel_is_a_failure_with_a_reason() -> None:
    """Quiesce, undo, end cancelled."""
    saga = Saga(*chain("a", "b"))
    saga.succeed("a")
    saga.give(CancelRun(who="ops", reason="wrong version"))
    assert saga.sent(CommandKind.CANCEL) == ["b"]
    saga.say(saga.last("b"), "cancelled", started=False)
    assert saga.undone == ["a"]
    saga.undo("a")
    assert saga.status is RunStatus.CANCELLED
    assert saga.run.reason == "wrong version"


def test_rule_9_a_cancel_that_makes_no_sense_is_refused_and_changes_nothing() -> None:
    """A run that ended or already goes back cannot be cancelled."""
    saga = Saga(*chain("a", "b"))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    image = encode(saga.run)
    with pytest.raises(IllegalInput, match="already being undone"):
        saga.give(CancelRun(who="ops", reason=""))
    assert encode(saga.run) == image
    saga.undo("a")
    with pytest.raises(IllegalInput, match="already ended"):
        saga.give(CancelRun(who="ops", reason=""))


# Rule 11


def test_rule_11_failed_means_there_was_nothing_to_undo() -> None:
    """The first step reported failure: no effect anywhere."""
    saga = Saga(*chain("a", "b"))
    saga.say(saga.last("a"), "failed")
    assert saga.undone == []
    assert saga.status is RunStatus.FAILED


def test_rule_11_an_output_of_the_run_that_fails_undoes_it() -> None:
    """A run whose output cannot be computed has not succeeded."""
    saga = Saga(*chain("a"), output="${{ steps.a.output.nope }}")
    saga.say(saga.last("a"), "succeeded", output={})
    assert saga.undone == ["a"]
    saga.undo("a")
    assert saga.status is RunStatus.COMPENSATED


# Rule 12


def test_rule_12_a_live_run_is_always_due_or_needs_a_person() -> None:
    """From the first command to the end; and a wake-up before its time changes nothing."""
    saga = Saga(step("a", idempotent=True), step("b"))
    assert saga.run.wake_at is not None
    assert not saga.wait(1).facts
    saga.say(saga.last("a"), "failed")
    assert saga.run.wake_at is not None
    saga.wait(5)
    saga.succeed("a")
    doubtful = saga.wait(10_000).run
    assert doubtful.wake_at is not None
    assert saga.wait(60).run.status is RunStatus.ATTENTION
    assert fold(saga.run.head, saga.facts) == saga.run


def test_rule_7_a_person_who_decides_also_stops_what_may_still_start() -> None:
    """Before a retry or a skip the old command is cancelled: it may wait in its agent's queue."""
    for decision in ("retry", "skip"):
        saga = Saga(step("a"))
        first = saga.last("a")
        saga.wait(10_000)
        saga.give(ResolveTask(step="a", decision=decision, who="ops"))
        assert saga.last("a", CommandKind.CANCEL).args["command_id"] == first.id


def test_rule_2_what_was_done_is_not_done_again_for_an_answer_that_cannot_be_used() -> None:
    """`succeeded` with an error: the step failed, has effect, and is not retried however the error reads."""
    saga = Saga(step("a", idempotent=True))
    error = ErrorInfo(code="output_too_large", message="too large", retryable=True)
    saga.say(saga.last("a"), "succeeded", error=error)
    assert saga.sent() == ["a"]
    assert saga.undone == ["a"]
