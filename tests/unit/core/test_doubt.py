"""Rule 7 at its edges: who left the effect that a person vouches for, and hearing of one doubt twice."""

from orchestrator.core.facts import ResultIgnored, TaskInDoubt
from orchestrator.core.inputs import ResolveTask, ResumeRun
from orchestrator.core.model import RunStatus
from schemas.messages import CommandKind
from tests.support.machine import Saga, step


def test_rule_7_the_agent_that_had_the_step_undoes_what_a_person_says_was_done() -> None:
    """Of a pool it is the one that began the step, not whichever is free."""
    saga = Saga(step("a", target={"pool": "p"}), step("b"))
    saga.say(saga.last("a"), "started", agent="p-2")
    saga.say(saga.last("a"), "unknown", agent="p-2")
    saga.give(ResolveTask(step="a", decision="done", who="ops"))
    saga.say(saga.last("b"), "failed")
    assert saga.last("a", CommandKind.COMPENSATE) is not None
    assert saga.task("a").target == "agent.p-2"


def test_rule_7_what_a_person_vouches_for_and_nobody_was_sent_is_undone_by_whom_the_step_is_for() -> None:
    """The step failed before it had an agent; its undo still has an address."""
    saga = Saga(step("a", on_failure="pause", **{"if": "input.nope"}), step("b"))
    saga.give(ResolveTask(step="a", decision="done", who="ops"))
    saga.give(ResumeRun(who="ops"))
    saga.say(saga.last("b"), "failed")
    assert saga.task("a").target == "agent.host-1"


def test_rule_7_hosts_that_a_person_vouches_for_and_nobody_knows_are_a_persons_again() -> None:
    """Nobody can be asked to undo what was done nobody knows where."""
    everywhere = {"labels": {"role": "web"}, "all": True}
    saga = Saga(step("a", on_failure="pause", target=everywhere), step("b"))
    saga.give(ResolveTask(step="a", decision="done", who="ops"))
    saga.give(ResumeRun(who="ops"))
    saga.say(saga.last("b"), "failed")
    assert saga.status is RunStatus.ATTENTION
    assert saga.undone == []


def test_rule_8_a_second_word_of_the_same_loss_is_a_duplicate() -> None:
    """The step is in doubt already: that is recorded, and not told again as news."""
    saga = Saga(step("a"))
    saga.say(saga.last("a"), "unknown")
    move = saga.say(saga.last("a"), "unknown")
    assert [type(fact) for fact in move.facts] == [ResultIgnored]
    assert [type(fact) for fact in saga.facts].count(TaskInDoubt) == 1
