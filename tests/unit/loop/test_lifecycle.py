"""What the world is told of a run: which events, in which order, under which ids."""

from typing import Any

import pytest

from orchestrator.core.inputs import ApproveTask, CancelRun, Move, ResolveTask
from orchestrator.core.model import Run
from orchestrator.loop.lifecycle import lifecycle_events
from schemas.events import Event
from schemas.messages import CommandKind
from tests.support.machine import Saga, chain, step


class Told(Saga):
    """A run that notes what is told of it."""

    run: Run

    def __init__(self, *steps: dict[str, Any], detail: str = "steps") -> None:
        self.told: list[tuple[str, Event]] = []
        self._detail = detail
        super().__init__(*steps)

    def _take(self, move: Move) -> Move:
        before = getattr(self, "run", None)
        first = list(lifecycle_events(before, move, "ns", self._detail))
        assert first == list(lifecycle_events(before, move, "ns", self._detail)), "a function of the move"
        self.told += first
        return super()._take(move)

    @property
    def keys(self) -> list[str]:
        """The routing keys without the workflow's name."""
        assert all(key.endswith(".test") for key, _ in self.told)
        return [key.removesuffix(".test") for key, _ in self.told]


def test_a_run_that_succeeds() -> None:
    """Started, each step, succeeded; every id is its own and tells of one fact."""
    saga = Told(*chain("a", "b"))
    saga.succeed("a", "b")
    assert saga.keys == ["run.started", "step.succeeded", "step.succeeded", "run.succeeded"]
    events = [event for _, event in saga.told]
    assert [event.type for event in events] == [f"baton.{key}" for key in saga.keys]
    assert [event.id for event in events] == ["run/1/run", "run/3", "run/5", "run/6/run"]
    assert {(event.source, event.subject) for event in events} == {("/baton/ns", "run")}


def test_events_say_where_and_carry_no_payload() -> None:
    """Ids, names and status; neither input nor output."""
    saga = Told(step("a"))
    saga.say(saga.last("a"), "succeeded", output={"secret": "hush"})
    about = {"run_id": "run", "workflow": "test", "version": saga.definition.version, "key": ""}
    _, (_, event), (_, ended) = saga.told
    assert event.data == {**about, "step": "a", "host_index": 0, "status": "succeeded"}
    assert ended.data == {**about, "status": "succeeded", "reason": ""}


def test_a_run_that_is_undone() -> None:
    """An attempt that is made again is not worth telling; what failed, and each undo, is."""
    saga = Told(step("a"), step("b", retry={"attempts": 2}))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    saga.wait(100)
    assert saga.keys == ["run.started", "step.succeeded"]
    saga.say(saga.last("b"), "failed")
    saga.undo("a")
    assert saga.keys[2:] == ["step.failed", "step.compensated", "run.compensated"]
    assert saga.told[-1][1].data["reason"] == "it broke"


def test_a_step_that_succeeds_while_its_run_goes_back() -> None:
    """It is told as what it is, though its undo is sent in the same move."""
    saga = Told(step("a", needs=[]), step("b", needs=[]))
    saga.say(saga.last("b"), "failed")
    saga.succeed("a")
    saga.undo("a")
    assert saga.keys[1:] == ["step.failed", "step.succeeded", "step.compensated", "run.compensated"]


def test_a_run_that_is_cancelled() -> None:
    """What ran and what had not begun are both told as cancelled."""
    saga = Told(*chain("a", "b"))
    saga.give(CancelRun(who="eva", reason="enough"))
    saga.say(saga.last("a"), "cancelled", started=False)
    assert sorted(saga.keys[1:]) == ["run.cancelled", "step.cancelled", "step.cancelled"]
    assert saga.told[-1][1].data["reason"] == "enough"


def test_a_run_that_needs_a_person_says_so_each_time() -> None:
    """Two undos that fail are two calls for attention, if the first was answered before."""
    saga = Told(step("a", compensate={"action": "undo.a", "retry": {"attempts": 1}}), step("b"))
    saga.succeed("a")
    saga.say(saga.last("b"), "failed")
    for _ in range(2):
        saga.say(saga.last("a", CommandKind.COMPENSATE), "failed")
        saga.give(ResolveTask("a", "retry", who="eva"))
    saga.undo("a")
    runs = [(key, event.id) for (key, event) in saga.told if event.type.startswith("baton.run.")]
    assert [key for key, _ in runs] == [
        "run.started.test",
        "run.attention.test",
        "run.attention.test",
        "run.compensated.test",
    ]
    assert len({event_id for _, event_id in runs}) == 4
    assert saga.keys.count("step.compensation_failed") == 2


def test_a_step_in_doubt_and_a_step_skipped() -> None:
    """Both are told; a person is called once the agents were asked in vain."""
    saga = Told(step("a", **{"if": "false"}), step("b", timeout="1s"))
    assert saga.keys == ["run.started", "step.skipped"]
    saga.wait(1_000)
    assert saga.keys[2:] == ["step.in_doubt"]
    saga.wait(1_000)
    assert saga.keys[2:] == ["step.in_doubt", "run.attention"]


@pytest.mark.parametrize(("detail", "keys"), [("off", []), ("runs", ["run.started", "run.succeeded"])])
def test_less_can_be_told(detail: str, keys: list[str]) -> None:
    """Nothing, or runs only."""
    saga = Told(step("a"), detail=detail)
    saga.succeed("a")
    assert saga.keys == keys


def test_a_step_that_waits_for_somebody_is_told() -> None:
    """An approval and an event must come from outside; a sleep ends by itself."""
    ask = {"id": "ask", "approve": {"by": ["eva"]}}
    hear = {"id": "hear", "wait_for": {"event": "com.example.paid"}}
    saga = Told({"id": "nap", "sleep": "1s"}, ask, hear)
    assert saga.keys == ["run.started"]
    saga.wait(1)
    assert saga.keys[1:] == ["step.succeeded", "step.waiting"]
    waiting = saga.told[-1][1]
    assert (waiting.type, waiting.data["step"], waiting.data["on"]) == (
        "baton.step.waiting",
        "ask",
        "approval",
    )
    saga.give(ApproveTask("ask", approved=True, who="eva"))
    assert saga.keys[3:] == ["step.succeeded", "step.waiting"]
    assert saga.told[-1][1].data["on"] == "event"


def test_each_task_of_a_fan_out_is_told() -> None:
    """With its number among them."""
    saga = Told(step("a", foreach="[1, 2]"))
    for number in range(2):
        saga.say(next(c for c in saga.commands if c.host_index == number), "succeeded")
    told = [
        (event.data["status"], event.data["host_index"]) for key, event in saga.told if key.startswith("step")
    ]
    assert told == [("succeeded", 0), ("succeeded", 1)]
