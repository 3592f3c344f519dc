"""`POST /api/events`: the CloudEvents HTTP binding, structured and binary."""

from typing import Any

from litestar import Request, post
from litestar.params import RawBody
from msgspec import Struct

from orchestrator.api.bodies import accepts
from orchestrator.api.parts import TheParts
from orchestrator.loop.intake import EventReceived
from orchestrator.store.port import InboxRecord
from schemas.events import CONTENT_TYPE, read_event

__all__ = ["HANDLERS"]


class EventAnswer(Struct, frozen=True):
    """What became of an event: one of `INBOX_OUTCOMES`; `reason` says why.

    `more_runs`: how many there are besides those that `runs` names.
    """

    outcome: str
    reason: str
    runs: list[str]
    more_runs: int


@post(
    "/api/events",
    operation_id="sendEvent",
    summary="Take in a CloudEvent",
    status_code=202,
    operation_class=accepts(
        {CONTENT_TYPE: {"type": "object"}, "application/json": {}},
        "A CloudEvent 1.0 in JSON; or, with its attributes as ce-… headers, its data alone.",
    ),
)
async def send_event(parts: TheParts, request: Request[Any, Any, Any], body: RawBody) -> EventAnswer:
    """Answers once that is stored; an event that was taken in before gets the same answer again."""
    event = read_event(
        body, request.headers.get("content-type"), request.headers, limit=parts.settings.max_event_bytes
    )
    record: InboxRecord = await parts.ask(EventReceived(event, event.traceparent))
    return EventAnswer(record.outcome, record.reason, record.runs, record.more)


HANDLERS = (send_event,)
