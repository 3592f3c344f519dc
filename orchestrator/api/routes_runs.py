"""`/api/runs`: list, start, show, and what a person can do to a run."""

from typing import Annotated, Any, Literal

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from orchestrator.api.parts import TheParts
from orchestrator.api.routes_system import Limit
from orchestrator.api.views import ItemList, RunItem, RunView, history_view, item_list, run_item, run_view
from orchestrator.core.inputs import CancelRun, ResolveTask
from orchestrator.core.model import RunStatus
from orchestrator.intake import InputForRun, StartRun
from orchestrator.store.port import RunFilter
from orchestrator.triggers import MAX_KEY
from schemas.errors import NotFound

__all__ = ["HANDLERS"]

Text = Annotated[str, Meta(max_length=2_000)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class StartRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Start a run by hand. An empty key is no key; of each other key one run is live at a time."""

    workflow: Name
    input: Any = None
    key: Annotated[str, Meta(max_length=MAX_KEY)] = ""


class Started(Struct, frozen=True):
    """The new run's id."""

    id: str


class CancelRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Cancel a run: it is undone and ends `cancelled` (rule 9)."""

    reason: Text = "cancelled by a person"
    who: Name = "api"


class ResolveRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Decide about a step that waits for a person: a step in doubt or a failed undo (rules 5 and 7).

    `done`: it was done, with this `output`; `skip`: it was not and will not be; `retry`: do it again.
    """

    step: Name
    decision: Literal["retry", "skip", "done"]
    why: Annotated[str, Meta(min_length=1, max_length=2_000)]
    host_index: Annotated[int, Meta(ge=0)] = 0
    output: Any = None
    who: Name = "api"


@get("/api/runs", operation_id="listRuns", summary="Runs without their payloads, newest first")
async def list_runs(
    parts: TheParts,
    workflow: FromQuery[str | None] = None,
    status: Annotated[
        list[RunStatus] | None, QueryParameter(description="may be given several times")
    ] = None,
    key: FromQuery[str | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: Limit = 100,
) -> ItemList[RunItem]:
    """All filters that are given must hold."""
    which = RunFilter(workflow=workflow, statuses=tuple(status or ()), key=key)
    page = await parts.reader.runs(which, cursor=cursor, limit=limit)
    return item_list(page, [run_item(run) for run in page.items])


@post(
    "/api/runs",
    operation_id="startRun",
    summary="Start a run by hand; 409 with the live run's id for a taken key",
)
async def start_run(
    parts: TheParts, request: Request[Any, Any, Any], data: JSONBody[StartRequest]
) -> Started:
    """A `traceparent` header becomes the parent of the run's trace."""
    value = {} if data.input is None else data.input
    asked = StartRun(data.workflow, data.key, value, request.headers.get("traceparent", ""))
    return Started(await parts.ask(asked))


@get("/api/runs/{run_id:str}", operation_id="showRun", summary="One run in full")
async def show_run(parts: TheParts, run_id: FromPath[str]) -> RunView:
    """With its input, output and every step."""
    run = await parts.reader.run(run_id)
    if run is None:
        raise _no_run(run_id)
    return run_view(run)


@get("/api/runs/{run_id:str}/history", operation_id="showHistory", summary="A run's facts, oldest first")
async def show_history(
    parts: TheParts, run_id: FromPath[str], cursor: FromQuery[str | None] = None, limit: Limit = 100
) -> ItemList[dict[str, Any]]:
    """Each fact has `seq` (from 1, without gaps), `at`, `fact` (its kind), and what belongs to that kind."""
    page = await parts.reader.history(run_id, cursor=cursor, limit=limit)
    if not page.items and cursor is None:
        raise _no_run(run_id)
    return item_list(page, [history_view(entry) for entry in page.items])


@post(
    "/api/runs/{run_id:str}/cancel",
    operation_id="cancelRun",
    summary="Undo a run and end it",
    status_code=200,
)
async def cancel_run(
    parts: TheParts, run_id: FromPath[str], data: JSONBody[CancelRequest | None] = None
) -> RunView:
    """Answers with the run once that is stored; 409 when the run cannot be cancelled."""
    asked = data or CancelRequest()
    return run_view(await parts.ask(InputForRun(run_id, CancelRun(who=asked.who, reason=asked.reason))))


@post(
    "/api/runs/{run_id:str}/resolve", operation_id="resolveStep", summary="Decide for a step", status_code=200
)
async def resolve_step(parts: TheParts, run_id: FromPath[str], data: JSONBody[ResolveRequest]) -> RunView:
    """Answers with the run once the decision is stored; 409 when the step does not wait for one."""
    given = ResolveTask(
        step=data.step,
        decision=data.decision,
        who=data.who,
        why=data.why,
        host_index=data.host_index,
        output=data.output,
    )
    return run_view(await parts.ask(InputForRun(run_id, given)))


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id}", hint="baton runs list (GET /api/runs) shows the runs")


HANDLERS = (list_runs, start_run, show_run, show_history, cancel_run, resolve_step)
