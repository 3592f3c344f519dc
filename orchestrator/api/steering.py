"""What a person can do to a run: each action's arguments, and how it is put to the coordinator.

One run (`routes_steer`) and many (`routes_bulk`) go the same way.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from orchestrator.api.parts import Parts
from orchestrator.api.versions import CURRENT, compiled, version_of
from orchestrator.core.inputs import (
    ApproveTask,
    CancelRun,
    Input,
    MoveRun,
    PauseRun,
    ResolveTask,
    ResumeRun,
    RetryNow,
)
from orchestrator.core.model import Run, RunStatus
from orchestrator.loop.intake import InputForRun, RetryRun
from schemas.errors import InvalidInput, NotFound

__all__ = [
    "ACTIONS",
    "Action",
    "ApproveRequest",
    "CancelRequest",
    "MoveRequest",
    "Name",
    "ResolveRequest",
    "RetryRequest",
    "Said",
    "approve",
    "cancel",
    "move",
    "no_run",
    "pause",
    "resolve",
    "resume",
    "retry",
    "statuses_for",
]

Text = Annotated[str, Meta(max_length=2_000)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Index = Annotated[int, Meta(ge=0, le=1_000_000)]


class Said(Struct, frozen=True, forbid_unknown_fields=True):
    """Who does it and why, for the history."""

    who: Name = "api"
    why: Text = ""


class CancelRequest(Said, frozen=True, forbid_unknown_fields=True):
    """Cancel a run: it is undone and ends `cancelled` (rule 9). `reason` is another word for `why`."""

    reason: Text = ""


class ResolveRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Decide about a step in doubt, a failed undo, or a parked step (rules 5, 6 and 7).

    `done`: it was done, with this `output`; `skip`: it was not and will not be; `retry`: do it again. Of a
    step that fans out, `host` (a name) or `host_index` (from 0; of a `foreach`, the item's) says which task.
    """

    step: Name
    decision: Literal["retry", "skip", "done"]
    why: Annotated[str, Meta(min_length=1, max_length=2_000)]
    host: Name | None = None
    host_index: Index | None = None
    output: Any = None
    who: Name = "api"


class ApproveRequest(Said, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answer an `approve` step; `host_index` says which item of a `foreach`."""

    step: Name
    approved: bool = True
    host_index: Index = 0


class RetryRequest(Said, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """`now`: make the attempts that wait for their turn at once. `from`: do a step and what needs it again.

    `version` is for a run that has ended, whose retry is a new run: of the `same` version, or the `current`.
    """

    now: bool = False
    from_: Name | None = None
    version: Literal["same", "current"] = "same"


class MoveRequest(Said, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let a live run keep to another version: the beginning of its hash, or `current`."""

    to: Name


async def cancel(parts: Parts, run_id: str, asked: CancelRequest) -> Run:
    """Undo a run and end it."""
    return await _give(
        parts, run_id, CancelRun(asked.who, asked.why or asked.reason or "cancelled by a person")
    )


async def pause(parts: Parts, run_id: str, asked: Said) -> Run:
    """Let nothing new start."""
    return await _give(parts, run_id, PauseRun(asked.who, asked.why))


async def resume(parts: Parts, run_id: str, asked: Said) -> Run:
    """Let a paused run go on."""
    return await _give(parts, run_id, ResumeRun(asked.who, asked.why))


async def approve(parts: Parts, run_id: str, asked: ApproveRequest) -> Run:
    """Answer an `approve` step."""
    given = ApproveTask(asked.step, asked.approved, asked.who, asked.why, asked.host_index)
    return await _give(parts, run_id, given)


async def resolve(parts: Parts, run_id: str, asked: ResolveRequest) -> Run:
    """Decide for a step that waits for a person."""
    if asked.host is not None and asked.host_index is not None:
        raise InvalidInput("host and host_index exclude each other", hint="one of them says which task")
    index = asked.host_index or 0
    if asked.host is not None:
        index = _index_of(await _found(parts, run_id), asked.step, asked.host)
    given = ResolveTask(asked.step, asked.decision, asked.who, asked.why, index, asked.output)
    return await _give(parts, run_id, given)


async def retry(parts: Parts, run_id: str, asked: RetryRequest) -> str:
    """Try again; the id of the run that does: this one, or a new one for a run that has ended."""
    if asked.now == (asked.from_ is not None):
        raise InvalidInput(
            "say either now or from", hint='{"now": true} for waiting attempts, {"from": STEP} for a step'
        )
    if asked.from_ is not None:
        content = RetryRun(run_id, asked.from_, asked.who, asked.why, current=asked.version == CURRENT)
        return str(await parts.ask(content))
    return (await _give(parts, run_id, RetryNow(asked.who, asked.why))).head.id


async def move(parts: Parts, run_id: str, asked: MoveRequest) -> Run:
    """Let a live run keep to another version, if what it has begun is unchanged there."""
    workflow = (await _found(parts, run_id)).head.workflow
    stored = await version_of(parts.reader, workflow, asked.to)
    definition = await asyncio.to_thread(compiled, stored)
    return await _give(parts, run_id, MoveRun(definition, asked.who, asked.why))


@dataclass(frozen=True, slots=True)
class Action:
    """What an action takes, how it is done, and which runs are meant when a filter names no status."""

    takes: type[Struct]
    carry_out: Callable[[Parts, str, Any], Awaitable[Run | str]]
    statuses: tuple[RunStatus, ...]


_LIVE: Final = tuple(status for status in RunStatus if not status.is_final)
_MOVING: Final = (RunStatus.RUNNING, RunStatus.COMPENSATING, RunStatus.ATTENTION)

ACTIONS: Final[dict[str, Action]] = {
    "cancel": Action(CancelRequest, cancel, tuple(one for one in _LIVE if one != RunStatus.COMPENSATING)),
    "pause": Action(Said, pause, _MOVING),
    "resume": Action(Said, resume, (RunStatus.PAUSED,)),
    "resolve": Action(ResolveRequest, resolve, (RunStatus.ATTENTION, RunStatus.PAUSED)),
    "approve": Action(ApproveRequest, approve, (RunStatus.RUNNING, RunStatus.ATTENTION, RunStatus.PAUSED)),
    "retry": Action(RetryRequest, retry, _MOVING),
    "move": Action(MoveRequest, move, _LIVE),
}
_RETRIED_FROM: Final = (RunStatus.PAUSED, RunStatus.ATTENTION, RunStatus.FAILED, RunStatus.CANCELLED)


def statuses_for(action: Action, asked: Struct) -> tuple[RunStatus, ...]:
    """Which runs are meant when no status is asked for: those that the action is for."""
    return _RETRIED_FROM if isinstance(asked, RetryRequest) and asked.from_ is not None else action.statuses


async def _give(parts: Parts, run_id: str, given: Input) -> Run:
    """Put an input to the coordinator; the run once that is stored."""
    run: Run = await parts.ask(InputForRun(run_id, given))
    return run


async def _found(parts: Parts, run_id: str) -> Run:
    run = await parts.reader.run(run_id)
    if run is None:
        raise no_run(run_id)
    return run


def _index_of(run: Run, step: str, host: str) -> int:
    """Which task of a step is on this host."""
    tasks = run.steps.get(step)
    if tasks is None:
        raise NotFound(f"run {run.head.id} has no step '{step}'", hint="baton runs show names its steps")
    found = [index for index, task in enumerate(tasks) if host in (task.host, task.agent)]
    if len(found) == 1:
        return found[0]
    wrong = "several tasks" if found else "no task"
    raise InvalidInput(
        f"step '{step}' of run {run.head.id} has {wrong} on host '{host}'",
        hint="baton runs show --all-hosts lists them; --host takes an index from 0 too",
    )


def no_run(run_id: str) -> NotFound:
    """An id of no run."""
    return NotFound(f"there is no run {run_id}", hint="baton runs list (GET /api/runs) shows the runs")
