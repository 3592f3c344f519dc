"""`/api/runs/bulk`: one action on every run that fits a filter, page by page."""

import asyncio
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import post
from litestar.params import JSONBody
from msgspec import Meta, Struct
from msgspec.structs import replace

from orchestrator.api.parts import Parts, TheParts
from orchestrator.api.selection import given_time
from orchestrator.api.steering import ACTIONS, Action, statuses_for
from orchestrator.api.versions import hash_of
from orchestrator.core.model import RunStatus
from orchestrator.store.port import RunFilter
from schemas.errors import BatonError, InvalidInput, Unreachable

__all__ = ["HANDLERS", "run_filter"]

AT_ONCE: Final = 100
"""How many runs are put to the coordinator's loop together: they share a transaction."""

Short = Annotated[str, Meta(min_length=1, max_length=512)]


class BulkFilter(Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs are meant; all that is given must hold. Times are RFC 3339.

    Without `status`: every status that the action is for. `version` is the whole hash, or with a `workflow`
    its beginning or `current`; `parent` the id of the run whose children are meant.
    """

    workflow: Short | None = None
    status: Annotated[list[RunStatus], Meta(max_length=20)] = []
    key: Short | None = None
    version: Short | None = None
    parent: Short | None = None
    started_after: Short | None = None
    started_before: Short | None = None


class BulkRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """An action with its `arguments`, as for a single run. `dry_run`: only count.

    At most `limit` runs are looked at; `next` of the answer as `cursor` goes on with the rest.
    """

    action: Literal["cancel", "pause", "resume", "resolve", "approve", "retry", "move"]
    filter: BulkFilter
    arguments: dict[str, Any] = {}
    dry_run: bool = False
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    cursor: Short | None = None


class Refusal(Struct, frozen=True):
    """A run that the action was not done to, and why."""

    id: str
    error: dict[str, Any]


class Count(Struct, frozen=True):
    """How many runs of one workflow have one status."""

    workflow: str
    status: RunStatus
    count: int


class BulkAnswer(Struct, frozen=True):
    """`matched` runs fit, and to `done` it was done. Of a dry run: all that fit, and their `counts`."""

    matched: int
    done: int
    refused: list[Refusal]
    counts: list[Count] = []
    next: str | None = None


@post(
    "/api/runs/bulk",
    operation_id="steerRuns",
    summary="Do something to every run that fits a filter, or count them",
    status_code=200,
)
async def steer_runs(parts: TheParts, data: JSONBody[BulkRequest]) -> BulkAnswer:
    """Newest first. A filter must narrow. Runs that it cannot be done to are in `refused`."""
    action = ACTIONS[data.action]
    asked = _arguments(action, data.arguments)
    which = run_filter(data.filter, statuses_for(action, asked))
    which = replace(which, version=await hash_of(parts.reader, which.workflow, which.version))
    if data.dry_run:
        counts = [Count(*count) for count in await parts.reader.count_runs(which)]
        return BulkAnswer(sum(count.count for count in counts), 0, [], counts)
    page = await parts.reader.runs(which, cursor=data.cursor, limit=data.limit)
    ids = [run.id for run in page.items]
    refused: list[Refusal] = []
    for first in range(0, len(ids), AT_ONCE):
        refused += await _carry_out(parts, action, asked, ids[first : first + AT_ONCE])
    return BulkAnswer(len(ids), len(ids) - len(refused), refused, next=page.next)


def run_filter(given: BulkFilter, statuses: tuple[RunStatus, ...]) -> RunFilter:
    """The filter as the store takes it; raises `InvalidInput` for one that narrows nothing."""
    if given == BulkFilter():
        raise InvalidInput(
            "the filter is empty: that would be every run",
            code="empty_filter",
            hint="give a workflow, a status, a key, a version, a parent or a time",
        )
    return RunFilter(
        workflow=given.workflow,
        statuses=tuple(given.status) or statuses,
        key=given.key,
        version=given.version,
        parent=given.parent,
        since=given_time(given.started_after, "started_after"),
        until=given_time(given.started_before, "started_before"),
    )


async def _carry_out(parts: Parts, action: Action, asked: Struct, ids: list[str]) -> list[Refusal]:
    """Do it to these runs together; those it could not be done to. Raises when the coordinator is away."""
    answers = await asyncio.gather(
        *(action.carry_out(parts, run_id, asked) for run_id in ids), return_exceptions=True
    )
    refused: list[Refusal] = []
    for run_id, answer in zip(ids, answers, strict=True):
        if isinstance(answer, BaseException):
            full = isinstance(answer, Unreachable) and answer.code == "too_many_runs"
            if not isinstance(answer, BatonError) or (isinstance(answer, Unreachable) and not full):
                raise answer
            refused.append(Refusal(run_id, answer.as_json()))
    return refused


def _arguments(action: Action, given: dict[str, Any]) -> Struct:
    """What a single run's request would hold."""
    try:
        return msgspec.convert(given, action.takes)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"arguments: {error}", hint="they are those of the same action on a single run"
        ) from None


HANDLERS = (steer_runs,)
