"""A move begins, undoes and stops so many tasks; the rest follows at once, in moves of its own (rule 12)."""

from typing import Any

import pytest

from orchestrator.core import machine
from orchestrator.core.evolution import evolve, fold
from orchestrator.core.facts import (
    AttemptFailed,
    EventEmitted,
    Fact,
    FailureTolerated,
    RunGoingBack,
    RunYielded,
    TaskCancelled,
    TaskParked,
)
from orchestrator.core.inputs import CancelRun, Limits, Move, PauseRun, ResumeRun, Wake
from orchestrator.core.model import Failure, Run, RunStatus, StepStatus
from orchestrator.core.motion import waits_for
from orchestrator.core.registry import Host
from orchestrator.store import rows
from schemas.messages import CommandKind
from tests.support.machine import Saga, step

pytestmark = pytest.mark.unit

ITEMS = {"items": [f"h{number}" for number in range(7)]}
EACH: dict[str, Any] = {"id": "each", "foreach": "input.items"}
TELL: dict[str, Any] = {**EACH, "emit": {"type": "it.is", "data": "${{ item }}"}}
UNDO: dict[str, Any] = {"compensate": {"action": "untell", "target": "host-1"}}


def told(saga: Saga) -> list[str]:
    """What was published, in order."""
    return [emission.data for emission in saga.emissions]


def test_a_move_begins_so_many_and_the_next_wake_goes_on() -> None:
    """Every item is done once, in order; in between a timer is due. Expanding counts as one."""
    saga = Saga(TELL, given=ITEMS, limits=Limits(at_once=3))
    assert told(saga) == ["h0", "h1"]
    assert saga.run.wake_at == saga.now
    assert waits_for(saga.run) == ""
    saga.wait(0)
    assert told(saga) == ["h0", "h1", "h2", "h3", "h4"]
    saga.wait(0)
    assert told(saga) == ITEMS["items"]
    assert saga.status is RunStatus.SUCCEEDED
    assert saga.run.yielded_at is None


def test_a_step_of_ten_thousand_items_takes_many_small_moves() -> None:
    """No move of a step as wide as may be has more than its share of facts, and all of it is done."""
    saga = Saga(TELL, given={"items": list(range(10_000))})
    moves = saga.go_on()
    assert len(moves) == 20
    assert max(len(move.facts) for move in moves) <= 1_001
    assert len({emission.id for emission in saga.emissions}) == 10_000
    assert saga.status is RunStatus.SUCCEEDED


def test_steps_side_by_side_count_like_items() -> None:
    """A document with many steps that begin together is begun in several moves too."""
    saga = Saga(*(step(f"s{number}", needs=[]) for number in range(5)), limits=Limits(at_once=2))
    assert len(saga.commands) == 2
    saga.go_on()
    assert [command.step for command in saga.commands] == [f"s{number}" for number in range(5)]


def test_a_crash_in_between_loses_nothing_and_does_nothing_twice() -> None:
    """What is stored goes on as the run in memory would have, and every event has its own id."""
    saga = Saga(TELL, given=ITEMS, limits=Limits(at_once=3))
    *_, state = rows.run_row(1, saga.run)
    _, head = rows.head_row(1, saga.run)
    stored = rows.run_of(head, state)
    assert stored == saga.run == fold(saga.run.head, saga.facts)
    again = machine.apply(saga.definition, stored, Wake(), saga._env())
    saga.wait(0)
    assert again.run == saga.run
    saga.go_on()
    emitted = [fact.event_id for fact in saga.facts if isinstance(fact, EventEmitted)]
    assert len(emitted) == len(set(emitted)) == len(ITEMS["items"])


def test_any_other_input_goes_on_as_well() -> None:
    """What comes in between takes nothing away: also a result that changes nothing brings the rest about."""
    saga = Saga(step("a", needs=[]), {**TELL, "needs": []}, given=ITEMS, limits=Limits(at_once=3))
    assert told(saga) == ["h0"]
    saga.say(saga.last("a"), "succeeded", agent="a-stranger")
    assert saga.run.ignored == 1
    assert told(saga) == ["h0", "h1", "h2", "h3"]
    saga.go_on()
    assert told(saga) == ITEMS["items"]


def test_max_parallel_is_kept() -> None:
    """A step with all its places taken has nothing left to do at once, and asks for no wake-up."""
    saga = Saga(step("each", foreach="input.items", max_parallel=4), given=ITEMS, limits=Limits(at_once=3))
    saga.go_on()
    assert len(saga.commands) == 4
    saga.say(saga.commands[0], "succeeded")
    assert len(saga.commands) == 5
    assert saga.run.yielded_at is None


def test_failures_that_are_put_up_with_do_not_take_a_move_each() -> None:
    """With `on_failure: continue` items that cannot even be sent are tried as many at once as any."""
    bad = {**EACH, "on_failure": "continue", "emit": {"type": "it.is", "data": "${{ item.none }}"}}
    saga = Saga(bad, given=ITEMS, limits=Limits(at_once=3))
    first, _ = saga.go_on()
    kinds = [type(fact) for fact in first.facts]
    assert kinds == [*[AttemptFailed] * 3, *[FailureTolerated] * 3, RunYielded]
    assert saga.status is RunStatus.SUCCEEDED


def test_what_comes_due_together_is_done_in_several_moves() -> None:
    """Items that slept equally long are due at one time; those that are left stay due."""
    saga = Saga({**EACH, "sleep": "5s"}, given=ITEMS, limits=Limits(at_once=3))
    saga.go_on()
    counts = []
    saga.wait(5)
    while saga.run.ended is None:
        assert saga.run.wake_at is not None
        assert saga.run.wake_at <= saga.now
        counts.append(sum(task.status is StepStatus.SUCCEEDED for task in saga.run.steps["each"]))
        saga.wait(0)
    assert counts == [3, 6]


def test_retries_that_come_due_together_are_made_in_several_moves() -> None:
    """No more attempts of one move than it may begin; the rest stay due."""
    saga = Saga(step("each", foreach="input.items", idempotent=True), given=ITEMS, limits=Limits(at_once=3))
    saga.go_on()
    for command in list(saga.commands):
        saga.say(command, "failed")
    assert len(saga.commands) == 7
    saga.wait(60)
    assert len(saga.commands) == 10
    for _ in range(2):
        assert saga.run.wake_at is not None
        assert saga.run.wake_at <= saga.now
        saga.wait(0)
    assert [command.attempt for command in saga.commands].count(2) == 7


def test_the_way_back_is_bounded_too() -> None:
    """Cancels, items that never begin and undos: so many at a time, and in the end all are undone."""
    saga = Saga({**TELL, **UNDO}, step("do", foreach="input.items"), given=ITEMS, limits=Limits(at_once=3))
    saga.go_on()
    before = len(saga.facts)
    saga.give(CancelRun("ann", "enough"))
    assert sum(command.kind is CommandKind.CANCEL for command in saga.commands) == 3
    assert isinstance(saga.facts[-1], RunYielded)
    assert len(saga.facts) == before + 5
    saga.go_on()
    running = [one for one in saga.commands if one.kind is CommandKind.EXECUTE]
    for command in running:
        saga.say(command, "cancelled", started=False)
    assert len(saga.undone) == 3
    saga.go_on()
    undos = [one for one in saga.commands if one.kind is CommandKind.COMPENSATE]
    assert [one.host_index for one in undos] == [6, 5, 4, 3, 2, 1, 0]
    for command in undos:
        saga.say(command, "succeeded")
    assert saga.status is RunStatus.CANCELLED


def test_what_cannot_be_cancelled_yet_does_not_keep_the_run_awake() -> None:
    """A pool's commands that nobody has taken are cancelled once it is known who has them."""
    hosts = [Host("p1", "i", pools=("p",))]
    pooled = step("each", foreach="input.items", target={"pool": "p"})
    saga = Saga(pooled, given=ITEMS, hosts=hosts, limits=Limits(at_once=3))
    saga.go_on()
    saga.give(CancelRun("ann", "enough"))
    assert saga.run.yielded_at is None
    saga.say(saga.last("each", index=0), "started", agent="p1")
    assert saga.commands[-1].kind is CommandKind.CANCEL


def test_a_paused_run_begins_nothing_until_it_is_resumed() -> None:
    """It asks for no wake-up while it is paused, and goes on where it was."""
    saga = Saga(TELL, given=ITEMS, limits=Limits(at_once=3))
    saga.give(PauseRun("ann"))
    assert saga.run.wake_at is None
    assert waits_for(saga.run) == "person"
    saga.give(ResumeRun("ann"))
    saga.go_on()
    assert told(saga) == ITEMS["items"]


def test_a_move_changes_nothing_of_what_it_was_given() -> None:
    """The run before a move stays as it was, and nothing of the one after it can change."""
    saga = Saga(TELL, given=ITEMS, limits=Limits(at_once=3))
    before: Run = saga.run
    then = fold(before.head, saga.facts)
    move: Move = saga.wait(0)
    assert before == then
    assert before.steps["each"][3].status is StepStatus.PENDING
    assert all(isinstance(tasks, tuple) for tasks in (*before.steps.values(), *move.run.steps.values()))


def test_many_facts_lead_where_they_lead_one_by_one() -> None:
    """Also when a fact about the run makes its tasks anew between two about these."""
    saga = Saga({**EACH, "sleep": "5s"}, given=ITEMS)
    facts: list[Fact] = [
        *saga.facts,
        TaskParked(at=1, step="each", host_index=0, why="x"),
        RunGoingBack(at=2, failure=Failure("each", "x")),
        TaskCancelled(at=3, step="each", host_index=1),
    ]
    run = Run(head=saga.run.head, steps={})
    for fact in facts:
        run = evolve(run, fact)
    assert run.steps["each"][1].status is StepStatus.CANCELLED
    assert fold(saga.run.head, facts) == run


@pytest.mark.parametrize("given", [CancelRun("ann", "enough"), None], ids=["cancelled", "out of time"])
def test_retries_that_are_overdue_take_no_room_from_the_way_back(given: CancelRun | None) -> None:
    """A run that goes back with more of them than one move may make does not go round in circles."""
    each = step("each", foreach="input.items", idempotent=True, retry={"attempts": 5})
    saga = Saga(each, given=ITEMS, limits=Limits(at_once=3), timeout="1m")
    saga.go_on()
    for command in list(saga.commands):
        saga.say(command, "failed")
    saga.give(PauseRun("ann"))
    saga.wait(600)
    saga.give(given or ResumeRun("ann"))
    sent = len(saga.commands)
    for move in saga.go_on():
        assert [type(fact) for fact in move.facts] != [RunYielded]
    for command in saga.commands[sent:]:
        if command.kind is CommandKind.CANCEL:
            continue
        saga.say(command, "cancelled")
    saga.go_on()
    assert saga.run.ended is (RunStatus.CANCELLED if given else RunStatus.FAILED)
