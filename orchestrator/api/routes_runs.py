"""`/api/runs`: list, start, show."""

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from orchestrator.api.parts import TheParts
from orchestrator.api.routes_system import Limit
from orchestrator.api.run_views import RunItem, RunView, history_view, is_in_doubt, run_item, run_view
from orchestrator.api.selection import given_time
from orchestrator.api.steering import Name, no_run
from orchestrator.api.versions import hash_of
from orchestrator.api.views import ItemList, item_list
from orchestrator.core.model import RunStatus
from orchestrator.loop.intake import StartRun
from orchestrator.starting.triggers import MAX_KEY
from orchestrator.store.port import RunFilter

__all__ = ["HANDLERS"]


class StartRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Start a run by hand. An empty key is no key; of each other key one run is live at a time."""

    workflow: Name
    input: Any = None
    key: Annotated[str, Meta(max_length=MAX_KEY)] = ""


class Started(Struct, frozen=True):
    """The new run's id."""

    id: str


@get("/api/runs", operation_id="listRuns", summary="Runs without their payloads, newest first")
async def list_runs(  # noqa: PLR0913, PLR0917  each is a parameter of the query
    parts: TheParts,
    workflow: FromQuery[str | None] = None,
    status: Annotated[
        list[RunStatus] | None, QueryParameter(description="may be given several times")
    ] = None,
    key: FromQuery[str | None] = None,
    version: FromQuery[str | None] = None,
    parent: FromQuery[str | None] = None,
    started_after: FromQuery[str | None] = None,
    started_before: FromQuery[str | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: Limit = 100,
) -> ItemList[RunItem]:
    """All filters that are given must hold; times are RFC 3339.

    With a `workflow` the beginning of a version's hash will do, or `current`.
    """
    which = RunFilter(
        workflow=workflow,
        statuses=tuple(status or ()),
        key=key,
        version=await hash_of(parts.reader, workflow, version),
        parent=parent,
        since=given_time(started_after, "started_after"),
        until=given_time(started_before, "started_before"),
    )
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
async def show_run(
    parts: TheParts,
    run_id: FromPath[str],
    hosts: Annotated[
        int | None, QueryParameter(ge=0, le=10_000, description="most tasks of a step to show; absent: all")
    ] = None,
) -> RunView:
    """With its input, output and every step.

    Of a step with more tasks than `hosts` those that matter most are shown, and no output.
    """
    run = await parts.reader.run(run_id)
    if run is None:
        raise no_run(run_id)
    return run_view(run, hosts, await parts.reader.doubts(run_id) if is_in_doubt(run) else {})


@get("/api/runs/{run_id:str}/history", operation_id="showHistory", summary="A run's facts, oldest first")
async def show_history(
    parts: TheParts, run_id: FromPath[str], cursor: FromQuery[str | None] = None, limit: Limit = 100
) -> ItemList[dict[str, Any]]:
    """Each fact has `seq` (from 1, without gaps), `at`, `fact` (its kind), and what belongs to that kind."""
    page = await parts.reader.history(run_id, cursor=cursor, limit=limit)
    if not page.items and cursor is None:
        raise no_run(run_id)
    return item_list(page, [history_view(entry) for entry in page.items])


HANDLERS = (list_runs, start_run, show_run, show_history)
