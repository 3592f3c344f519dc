"""What a live run waits for, which decides whether it takes up room and whether it is stranded."""

from orchestrator.core.inputs import ApproveTask, CancelRun, PauseRun, ResumeRun
from orchestrator.core.model import Run, RunHead, TraceContext
from orchestrator.core.motion import waits_for
from tests.support.machine import Saga, chain, step

ASK = {"id": "ask", "needs": [], "approve": {}}
HEAR = {"id": "hear", "needs": [], "wait_for": {"event": "com.example.paid"}}
NAP = {"id": "nap", "needs": [], "sleep": "1h"}
KID = {"id": "kid", "needs": [], "workflow": "kid"}


def test_an_attempt_under_way_or_due_is_motion() -> None:
    """Also beside steps that wait, and while a retry's pause lasts."""
    saga = Saga(step("a", retry={"attempts": 2, "delay": "1m"}), ASK)
    assert waits_for(saga.run) == ""
    saga.say(saga.last("a"), "failed")
    assert waits_for(saga.run) == ""
    saga.wait(100)
    saga.succeed("a")
    assert waits_for(saga.run) == "person"
    saga.give(ApproveTask("ask", approved=True, who="eva"))
    assert saga.run.ended is not None
    assert waits_for(saga.run) == ""


def test_each_kind_of_waiting_is_named() -> None:
    """Of several a person counts first, then a child run, then an event, then time."""
    names = [waits_for(Saga(*steps).run) for steps in ([NAP], [NAP, HEAR], [HEAR, KID], [KID, ASK])]
    assert names == ["time", "event", "child", "person"]


def test_a_step_in_doubt_waits_for_a_person_once_agents_were_asked_in_vain() -> None:
    """Until then somebody may still answer."""
    saga = Saga(step("a"))
    saga.wait(3_600)
    assert waits_for(saga.run) == ""
    saga.wait(3_600)
    assert waits_for(saga.run) == "person"


def test_a_paused_run_waits_for_a_person() -> None:
    """Whatever goes on in it."""
    saga = Saga(*chain("a", "b"))
    saga.give(PauseRun("eva"))
    assert waits_for(saga.run) == "person"
    saga.give(ResumeRun("eva"))
    assert waits_for(saga.run) == ""
    saga.give(CancelRun("eva", "enough"))
    assert waits_for(saga.run) == ""


def test_a_queued_run_waits_for_a_slot() -> None:
    """It has no steps yet."""
    head = RunHead("r", "w", "v", "", 0, TraceContext("ab" * 16, "cd" * 8), group="g")
    assert waits_for(Run(head=head, steps={}, queued=True)) == "slot"
    assert waits_for(Run(head=head, steps={}, held=True)) == "parent"
