"""`/api/agents`, `/api/inbox`, `/health/*`, `/metrics`."""

from typing import Annotated, Literal

from litestar import Response, get
from litestar.params import FromQuery, QueryParameter

from orchestrator.api.parts import TheParts
from orchestrator.api.views import AgentView, InboxView, ItemList, agent_view, inbox_view, item_list
from orchestrator.store.port import Page
from schemas.errors import InvalidInput, Unreachable

__all__ = ["HANDLERS", "Limit"]

Outcome = Literal["started", "delivered", "debounced", "throttled", "duplicate", "no_trigger", "rejected"]
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="most items of one page")]


@get("/api/agents", operation_id="listAgents", summary="Agents that announced themselves, by name")
async def list_agents(
    parts: TheParts,
    pool: FromQuery[str | None] = None,
    label: Annotated[list[str] | None, QueryParameter(description="k=v; repeated: all of them")] = None,
    live: FromQuery[bool | None] = None,
) -> ItemList[AgentView]:
    """All that ever did, or those of a pool, with labels, or that are live; on one page."""
    wanted = [_label(text) for text in label or ()]
    live_since = parts.now() - round(parts.settings.agent_live_for * 1_000_000)
    views = [agent_view(record, live_since=live_since) for record in await parts.reader.agents()]
    found = [
        view
        for view in views
        if (pool is None or pool in view.pools)
        and all(view.labels.get(key) == value for key, value in wanted)
        and (live is None or view.live == live)
    ]
    return item_list(Page(found), found)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidInput(f"'{text}' is not a label", hint="write label=KEY=VALUE")
    return key, value


@get(
    "/api/inbox", operation_id="listInbox", summary="What became of events and refused results, newest first"
)
async def list_inbox(
    parts: TheParts,
    outcome: FromQuery[Outcome | None] = None,
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
