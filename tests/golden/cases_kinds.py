"""Cases: steps with many tasks and without an agent, child runs, and what people do."""

from typing import Any, Final

import msgspec

from orchestrator.core.compiler import compile_definition
from orchestrator.core.inputs import (
    AdmitRun,
    ApproveTask,
    CancelRun,
    ChildEnded,
    EventArrived,
    Limits,
    MoveRun,
    PauseRun,
    ReleaseRun,
    ResolveTask,
    ResumeRun,
    RetryFrom,
    RetryNow,
    UndoRun,
)
from orchestrator.core.model import ParentRef, RunStatus
from schemas.messages import CommandKind
from schemas.workflow import Workflow
from tests.golden.casebook import DO, UNDO, WEB, case
from tests.golden.story import Recorded
from tests.support.machine import chain, step

EVERY: Final = {"labels": {"role": "web"}, "all": True}
LIST: Final = {"list": [1, 2, 3]}
CALL: Final = {"id": "call", "workflow": "inner", "with": {"n": 1}}
UNTELL: Final = {"action": "untell", "target": "host-1"}
PARENT: Final = ParentRef(run_id="above", step="call", host_index=0, attempt=1, depth=1)
EVENT: Final = {"id": "1", "source": "/shop", "type": "paid", "time": "t", "data": {"order": 7}}


def each(
    run: Recorded, *indices: int, status: str = "succeeded", kind: CommandKind = CommandKind.EXECUTE
) -> None:
    """Agents answer for these tasks of step `s`."""
    for index in indices:
        run.say(run.last("s", kind, index), status, output={"n": index} if status == "succeeded" else None)


# Many tasks


@case
def foreach() -> Recorded:
    """Two items at a time, forward and back."""
    run = Recorded(
        step("s", foreach="input.list", max_parallel=2, **{"with": {"n": "${{ item }}"}}),
        step("t"),
        given=LIST,
    )
    each(run, 0, 1, 2)
    run.say(run.last("t"), "failed")
    each(run, 2, 1, 0, kind=UNDO)
    return run


@case
def foreach_over_nothing() -> Recorded:
    """Done at once."""
    run = Recorded(step("s", foreach="input.list"), step("t"), given={"list": []})
    run.succeed("t")
    return run


@case
def foreach_over_no_list() -> Recorded:
    """A step error."""
    return Recorded(step("s", foreach="input.list"), given={"list": "text"})


@case
def rollout() -> Recorded:
    """Batches with a pause; one failure is put up with, the next is too many; last batch first back."""
    run = Recorded(
        step("s", target=EVERY, rollout={"batch": "50%", "pause": "2m", "max_failures": 1},
             **{"with": {"me": "${{ host.name }}"}}),
        hosts=WEB,
    )  # fmt: skip
    each(run, 0, status="failed")
    each(run, 1)
    run.wait(120)
    each(run, 3)
    each(run, 2, status="failed")
    each(run, 3, kind=UNDO)
    each(run, 1, kind=UNDO)
    return run


@case
def rollout_that_succeeds() -> Recorded:
    """Others see outputs by host."""
    seen = {"with": {"o": "${{ steps.s.output }}", "st": "${{ steps.s.hosts.w0.status }}"}}
    run = Recorded(step("s", target=EVERY, rollout={"batch": 3}), step("t", **seen), hosts=WEB)
    each(run, 0, 1, 2)
    each(run, 3)
    run.succeed("t")
    return run


# Steps without an agent


@case
def events() -> Recorded:
    """A wait that is filed under a value; an event that is not meant, and the one that is."""
    wait = {
        "event": "paid", "correlate": {"from": "event.data.order", "expect": "input.order"},
        "if": "event.data.ok", "timeout": "1h",
    }  # fmt: skip
    run = Recorded({"id": "w", "wait_for": wait}, step("b"), given={"order": 7})
    run.give(EventArrived({**EVENT, "data": {"order": 7, "ok": False}}, [("w", 0)]))
    run.give(EventArrived({**EVENT, "id": "2", "data": {"order": 7, "ok": True}}, [("w", 0)]))
    run.succeed("b")
    return run


@case
def no_event() -> Recorded:
    """A wait that nobody ends."""
    run = Recorded(step("a"), {"id": "w", "wait_for": {"event": "paid", "timeout": "1h"}})
    run.succeed("a")
    run.wait(3600)
    run.undo("a")
    return run


@case
def approvals() -> Recorded:
    """Approved with a reason; approved by silence; rejected."""
    run = Recorded(
        {"id": "p", "approve": {"by": ["ann"], "message": "go to ${{ input.v }}?"}},
        {"id": "q", "approve": {"timeout": "1h", "on_timeout": "approve"}},
        {"id": "r", "approve": {}},
        given={"v": "2"},
    )
    run.give(ApproveTask("p", approved=True, who="ann", why="looks good"))
    run.wait(3600)
    run.give(ApproveTask("r", approved=False, who="bob", why="no"))
    return run


@case
def sleep_and_emit() -> Recorded:
    """Time passes, an event goes out, and what was announced is taken back."""
    undo = {"action": "u", "target": "host-9", "with": {"id": "${{ steps.e.output.id }}"}}
    emit = {"type": "live", "data": {"v": "${{ input.v }}"}, "subject": "s"}
    run = Recorded(
        {"id": "z", "sleep": "90s"}, {"id": "e", "emit": emit, "compensate": undo}, step("b"), given={"v": 3}
    )
    run.wait(90)
    run.say(run.last("b"), "failed")
    run.say(run.last("e", UNDO), "succeeded", agent="host-9")
    return run


# Children


@case
def parent() -> Recorded:
    """A child that is done, and undone when the parent goes back."""
    run = Recorded(step("a"), CALL, step("z"))
    run.succeed("a")
    child = run.children[-1].run_id
    run.give(ChildEnded("call", 0, child, "done", status=RunStatus.RUNNING, output={"n": 2}))
    run.say(run.last("z"), "failed")
    run.give(ChildEnded("call", 0, child, "failed", status=RunStatus.COMPENSATED))
    run.undo("a")
    return run


@case
def parent_of_failures() -> Recorded:
    """A child that fails, another attempt, then a cancel that reaches the child."""
    run = Recorded({**CALL, "retry": {"attempts": 2}})
    failed: Any = {"status": RunStatus.FAILED, "code": "child_failed", "message": "inner failed"}
    run.give(ChildEnded("call", 0, run.children[-1].run_id, "failed", **failed))
    run.wait(5)
    run.give(CancelRun("ann", "enough"))
    run.give(
        ChildEnded(
            "call", 0, run.children[-1].run_id, "failed", status=RunStatus.CANCELLED, code="child_cancelled"
        )
    )
    return run


@case
def parent_of_what_cannot_be_undone() -> Recorded:
    """Two children: one refuses, on the other's undo a person gave up; both are a person's in the end."""
    run = Recorded({**CALL, "foreach": "input.list", "max_parallel": 2}, step("z"), given={"list": [1, 2]})
    for index in (0, 1):
        run.give(ChildEnded("call", index, run.children[index].run_id, "done"))
    run.say(run.last("z"), "failed")
    run.give(ChildEnded("call", 1, run.children[1].run_id, "refused", message="past its pivot"))
    run.give(ChildEnded("call", 0, run.children[0].run_id, "given_up"))
    run.give(ResolveTask("call", "done", "ann", host_index=1))
    return run


@case
def child_released() -> Recorded:
    """Done, it waits for its parent's end, which comes."""
    run = Recorded(step("x"), parent=PARENT, output={"n": 1})
    run.succeed("x")
    run.give(ReleaseRun())
    return run


@case
def child_undone() -> Recorded:
    """Done, and then undone for its parent, which asks once more."""
    run = Recorded(step("x"), parent=PARENT)
    run.succeed("x")
    run.give(UndoRun("the parent failed"))
    run.undo("x")
    run.give(UndoRun("the parent failed"))
    return run


# What people do


@case
def queued() -> Recorded:
    """It waits for room in its group, then begins."""
    run = Recorded(*chain("a"), queued=True, timeout="5m", priority=7)
    run.wait(1_000)
    run.give(AdmitRun())
    run.succeed("a")
    return run


@case
def queued_and_cancelled() -> Recorded:
    """It never began."""
    run = Recorded(*chain("a"), queued=True)
    run.give(CancelRun("ann", "no"))
    return run


@case
def paused() -> Recorded:
    """Nothing new starts; a retry that waited is hurried."""
    run = Recorded(step("a"), step("b", retry={"attempts": 3, "delay": "1h", "max_delay": "1h"}))
    run.give(PauseRun("ann", "change freeze"))
    run.succeed("a")
    run.give(ResumeRun("ann"))
    run.say(run.last("b"), "failed")
    run.give(RetryNow("ann", "now"))
    run.succeed("b")
    return run


@case
def retried_from() -> Recorded:
    """A step and what depends on it once more."""
    run = Recorded(*chain("a", "b"), step("c", on_failure="pause"))
    run.succeed("a", "b")
    run.say(run.last("c"), "failed")
    run.give(RetryFrom("b", "ann", "b gave a wrong answer"))
    run.succeed("b", "c")
    return run


@case
def retry_of_an_ended_run() -> Recorded:
    """A new run that keeps the results of an old one."""
    old = Recorded(step("a", compensate=None), step("b", compensate=None))
    old.succeed("a")
    old.say(old.last("b"), "failed")
    run = Recorded(step("a", compensate=None), step("b", compensate=None), kept={"a": old.run.steps["a"]})
    run.succeed("b")
    return run


@case
def moved() -> Recorded:
    """To a version with a step more."""
    run = Recorded(*chain("a", "b"))
    run.succeed("a")
    data = {"workflow": "test", "steps": [*chain("a", "b"), step("new")]}
    run.give(MoveRun(to=compile_definition(msgspec.convert(data, Workflow)), who="ann", why="hotfix"))
    run.succeed("b", "new")
    return run


@case
def yielded() -> Recorded:
    """More at once than one move may begin, stop or undo: the rest follows in moves of their own."""
    over = {"foreach": "input.hosts", "max_parallel": 4}
    run = Recorded(
        {"id": "tell", **over, "emit": {"type": "it.is", "data": "${{ item }}"}, "compensate": UNTELL},
        step("do", **over),
        given={"hosts": ["h0", "h1", "h2", "h3", "h4"]},
        limits=Limits(at_once=2),
    )
    run.go_on()
    run.say(run.last("do", index=0), "failed")
    run.go_on()
    for command in [one for one in run.commands if one.step == "do" and one.kind is DO][1:]:
        run.say(command, "cancelled", started=False)
    run.go_on()
    for index in (4, 3, 2, 1, 0):
        run.say(run.last("tell", UNDO, index), "succeeded")
        run.go_on()
    return run
