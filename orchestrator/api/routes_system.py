"""`/api/agents`, `/api/inbox`, `/health/*`, `/metrics`."""

from typing import Annotated, Literal

from litestar import Response, get
from litestar.params import FromQuery, QueryParameter

from orchestrator.api.parts import TheParts
from orchestrator.api.views import AgentView, InboxView, ItemList, agent_view, inbox_view, item_list
from orchestrator.store.port import Page
from schemas.errors import Unreachable

__all__ = ["HANDLERS", "Limit"]

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="most items of one page")]


@get("/api/agents", operation_id="listAgents", summary="Every agent that ever announced itself, by name")
async def list_agents(parts: TheParts) -> ItemList[AgentView]:
    """By name; all on one page."""
    records = await parts.reader.agents()
    return item_list(Page(records), [agent_view(record) for record in records])


@get(
    "/api/inbox", operation_id="listInbox", summary="What became of events and refused results, newest first"
)
async def list_inbox(
    parts: TheParts,
    outcome: FromQuery[Literal["started", "duplicate", "no_trigger", "rejected"] | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: Limit = 100,
) -> ItemList[InboxView]:
    """An event with the outcome `rejected` says in `reason` why it started nothing."""
    page = await parts.reader.inbox(outcome, cursor=cursor, limit=limit)
    return item_list(page, [inbox_view(record) for record in page.items])


@get("/health/live", operation_id="live", summary="Whether the process answers", security=[])
async def live() -> dict[str, str]:
    """Says so also while the broker is away."""
    return {"status": "live"}


@get(
    "/health/ready",
    operation_id="ready",
    summary="Whether events are taken in; 503 with the reason",
    security=[],
)
async def ready(parts: TheParts) -> dict[str, str]:
    """An error of code `not_ready` until the coordinator listens on the broker, and whenever it does not."""
    if reason := parts.why_not_ready():
        raise Unreachable(reason, code="not_ready", hint="the coordinator keeps trying by itself")
    return {"status": "ready"}


@get(
    "/metrics",
    operation_id="metrics",
    summary="Figures in the Prometheus text format",
    media_type="text/plain",
)
async def metrics(parts: TheParts) -> Response[bytes]:
    """Counters start at 0 with each start of the coordinator."""
    return Response(parts.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


HANDLERS = (list_agents, list_inbox, live, ready, metrics)
