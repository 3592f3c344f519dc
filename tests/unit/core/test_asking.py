"""Rule 7 in full: who is asked about a command in doubt, and what each answer is worth."""

from typing import Any

import pytest

from orchestrator.core.inputs import CommandExpired, ResolveTask
from orchestrator.core.model import StepStatus
from orchestrator.core.registry import Host
from schemas.messages import NOT_STOPPABLE, CommandKind, ErrorInfo
from tests.support.machine import Saga, step

QUERY, UNDO = CommandKind.QUERY, CommandKind.COMPENSATE
LONG = 691  # seconds: past every limit of one attempt
POOL = [Host("p1", "i", pools=("p",)), Host("p2", "i", pools=("p",))]
HOST = [Host("host-1", "old")]


def in_doubt(hosts: Any = (), **fields: Any) -> Saga:
    """A run whose second step got no answer."""
    saga = Saga(step("a"), step("b", **fields), hosts=hosts)
    saga.succeed("a")
    saga.wait(LONG)
    assert saga.step_status("b") is StepStatus.IN_DOUBT
    return saga


def test_rule_7_the_agent_is_asked_and_asked_again_ever_more_slowly() -> None:
    """At once, after 30 s, 60 s, 120 s …; a person sees it once the first question is unanswered."""
    saga = in_doubt()
    assert saga.last("b", QUERY).args["command_id"] == saga.last("b").id
    assert saga.status == "running"
    for seconds in (30, 60, 120):
        saga.wait(seconds - 1)
        before = len(saga.sent(QUERY))
        saga.wait(1)
        assert len(saga.sent(QUERY)) == before + 1
    assert saga.status == "attention"
    saga.succeed("b")
    assert saga.status == "succeeded"


def test_rule_7_never_seen_is_safe_to_retry() -> None:
    """The agent tombstones it; the attempt counts, and nothing is undone for it."""
    saga = in_doubt(retry={"attempts": 2})
    saga.say(saga.last("b"), "never_seen", started=False)
    saga.wait(5)
    assert saga.last("b").attempt == 2
    saga.say(saga.last("b"), "failed")
    assert saga.undone == ["a"]


def test_rule_7_an_agent_that_still_works_on_it_gets_more_time() -> None:
    """The doubt is over; the next one would come after another full time limit."""
    saga = in_doubt()
    saga.say(saga.last("b"), "progress")
    assert saga.step_status("b") is StepStatus.RUNNING
    saga.wait(600)
    assert saga.step_status("b") is StepStatus.RUNNING
    saga.wait(60)
    assert saga.step_status("b") is StepStatus.IN_DOUBT


def test_rule_7_a_finished_result_is_taken() -> None:
    """Whatever it says."""
    saga = in_doubt()
    saga.say(saga.last("b"), "failed")
    assert saga.undone == ["a"]


def test_rule_7_a_command_that_expired_unconsumed_is_safe_to_retry_also_out_of_doubt() -> None:
    """The broker's word comes late sometimes."""
    saga = in_doubt(retry={"attempts": 2})
    saga.give(CommandExpired(saga.last("b")))
    saga.wait(5)
    assert saga.last("b").attempt == 2


@pytest.mark.parametrize("policy", ["ask", "retry", "compensate"])
def test_rule_7_started_then_lost_follows_the_documents_policy(policy: str) -> None:
    """ask: a person; retry: as many attempts as the step has; compensate: as done, and undone."""
    saga = in_doubt(on_unknown=policy, retry={"attempts": 2})
    saga.say(saga.last("b"), "unknown")
    saga.wait(5)
    if policy == "ask":
        assert saga.status == "attention"
        assert saga.sent() == ["a", "b"]
    elif policy == "retry":
        assert saga.last("b").attempt == 2
        saga.say(saga.last("b"), "failed")
        assert saga.undone == ["b"]  # the lost attempt may have left something
    else:
        assert saga.undone == ["b"]


def test_rule_7_an_agent_that_does_not_know_is_asked_again_later() -> None:
    """Its action's probe may find out; meanwhile a person may decide."""
    saga = in_doubt()
    saga.say(saga.last("b"), "unknown")
    assert saga.status == "attention"
    asked = len(saga.sent(QUERY))
    saga.wait(599)
    assert len(saga.sent(QUERY)) == asked
    saga.wait(1)
    assert len(saga.sent(QUERY)) == asked + 1
    saga.succeed("b")
    assert saga.status == "succeeded"


def test_rule_7_an_action_that_would_not_stop_and_then_was_lost_follows_the_documents_policy() -> None:
    """While it goes on nothing is done; once its agent has lost it, that is as any other loss."""
    saga = in_doubt(on_unknown="compensate")
    saga.say(saga.last("b"), "unknown", error=ErrorInfo(code=NOT_STOPPABLE))
    assert saga.undone == []
    saga.say(saga.last("b"), "unknown")
    assert saga.undone == ["b"]


def test_rule_7_a_rebuilt_agents_never_seen_proves_nothing() -> None:
    """Its journal is not the one that the command may be in: it counts as lost."""
    saga = in_doubt(HOST)
    saga.say(saga.last("b"), "never_seen", started=False, instance_id="new")
    assert saga.step_status("b") is StepStatus.IN_DOUBT
    assert saga.status == "attention"
    assert saga.sent() == ["a", "b"]


def test_rule_7_the_same_instances_never_seen_is_proof() -> None:
    """It is the one that the command was sent to."""
    saga = in_doubt(HOST, retry={"attempts": 2})
    saga.say(saga.last("b"), "never_seen", started=False, instance_id="old")
    saga.wait(5)
    assert saga.last("b").attempt == 2


def test_rule_7_never_seen_from_an_agent_that_had_begun_is_a_loss() -> None:
    """It said `started` once: it must have been rebuilt since."""
    saga = Saga(step("b"))
    saga.say(saga.last("b"), "started")
    saga.wait(LONG)
    saga.say(saga.last("b"), "never_seen", started=False)
    assert saga.status == "attention"


def test_rule_7_a_probe_that_found_no_effect_is_proof_also_of_what_had_begun() -> None:
    """`never_seen` with the code `no_effect`: another attempt may follow."""
    saga = Saga(step("b", retry={"attempts": 2}))
    saga.say(saga.last("b"), "started")
    saga.say(saga.last("b"), "never_seen", started=False, error=ErrorInfo(code="no_effect"))
    saga.wait(5)
    assert saga.last("b").attempt == 2


def test_rule_7_of_a_pool_every_member_is_asked_and_all_must_deny() -> None:
    """One denial is no proof; who denied is not asked again."""
    saga = in_doubt(POOL, target={"pool": "p"}, retry={"attempts": 2})
    assert len(saga.sent(QUERY)) == 2
    saga.say(saga.last("b"), "never_seen", agent="p1", started=False)
    saga.wait(30)
    assert saga.sent() == ["a", "b"]
    assert len(saga.sent(QUERY)) == 3
    saga.say(saga.last("b"), "never_seen", agent="p2", started=False)
    saga.wait(5)
    assert saga.last("b").attempt == 2


def test_rule_7_of_a_pool_one_denial_is_no_proof_also_before_anybody_was_asked() -> None:
    """Another member may have it; it keeps its time limit."""
    saga = Saga(step("b", target={"pool": "p"}, retry={"attempts": 2}), hosts=POOL)
    saga.say(saga.last("b"), "never_seen", agent="p1", started=False)
    saga.wait(5)
    assert saga.sent() == ["b"]
    saga.say(saga.last("b"), "never_seen", agent="p2", started=False)
    saga.wait(5)
    assert saga.sent() == ["b", "b"]


def test_rule_7_of_a_pool_whoever_has_it_answers() -> None:
    """From then on only that member's word counts."""
    saga = in_doubt(POOL, target={"pool": "p"})
    saga.say(saga.last("b"), "progress", agent="p2")
    assert saga.step_status("b") is StepStatus.RUNNING
    saga.say(saga.last("b"), "failed", agent="p1")
    assert saga.step_status("b") is StepStatus.RUNNING
    saga.say(saga.last("b"), "succeeded", agent="p2")
    assert saga.status == "succeeded"


def test_rule_7_a_pools_member_that_does_not_know_is_not_the_last_word() -> None:
    """Another one may have it: all are asked."""
    saga = Saga(step("b", target={"pool": "p"}), hosts=POOL)
    saga.say(saga.last("b"), "unknown", agent="p1")
    assert saga.step_status("b") is StepStatus.IN_DOUBT
    assert len(saga.sent(QUERY)) == 2


def test_rule_7_undos_are_asked_about_too() -> None:
    """And a `never_seen` one is sent again."""
    saga = Saga(step("a"), step("b"))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    saga.wait(LONG)
    assert saga.step_status("a") is StepStatus.IN_DOUBT
    saga.say(saga.last("a", UNDO), "never_seen", started=False)
    saga.wait(5)
    assert saga.last("a", UNDO).attempt == 2
    saga.undo("a")
    assert saga.status == "compensated"


def test_rule_7_a_person_may_decide_before_the_first_question_is_answered() -> None:
    """Nobody has to wait for the silence to be long enough."""
    saga = in_doubt()
    saga.give(ResolveTask(step="b", decision="done", who="ops"))
    assert saga.status == "succeeded"


def test_rule_7_a_backlog_job_that_is_cancelled_had_no_effect() -> None:
    """`progress` without a start says that the agent has it, not that it began."""
    saga = Saga(step("a"), step("b"))
    saga.succeed("a")
    saga.say(saga.last("b"), "progress", started=False)
    saga.wait(661)
    saga.say(saga.last("b"), "cancelled", started=False)
    assert saga.undone == ["a"]
