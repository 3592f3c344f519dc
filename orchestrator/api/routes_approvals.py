"""`/api/approvals`: what people are asked for."""

import msgspec
from litestar import get
from litestar.params import FromQuery
from msgspec import Struct

from orchestrator.api.parts import TheParts
from orchestrator.api.routes_system import Limit
from orchestrator.api.run_views import WaitingView, run_view
from orchestrator.api.views import ItemList
from orchestrator.core.model import Run
from orchestrator.store.port import Reader
from schemas.codec import decode
from schemas.workflow import Workflow

__all__ = ["HANDLERS"]


class ApprovalView(Struct, frozen=True):
    """An approval that is waited for: `by` whom (empty: anybody), and what counts after `until`."""

    run: str
    workflow: str
    key: str
    step: str
    index: int
    item: str
    message: str
    by: list[str]
    since: str | None
    until: str | None
    on_timeout: str


@get("/api/approvals", operation_id="listApprovals", summary="What people are asked to approve, newest first")
async def list_approvals(
    parts: TheParts, cursor: FromQuery[str | None] = None, limit: Limit = 100
) -> ItemList[ApprovalView]:
    """`limit` counts runs, of which each may wait for several."""
    page = await parts.reader.asking(cursor=cursor, limit=limit)
    documents: dict[str, Workflow | None] = {}
    items: list[ApprovalView] = []
    for run in page.items:
        if run.version not in documents:
            documents[run.version] = await _document(parts.reader, run)
        items += _approvals(run, documents[run.version])
    return ItemList(items, page.next)


async def _document(reader: Reader, run: Run) -> Workflow | None:
    stored = await reader.definition(run.head.workflow, run.version)
    return None if stored is None else decode(stored.document, Workflow)


def _approvals(run: Run, document: Workflow | None) -> list[ApprovalView]:
    """What a run waits for that a person may answer."""
    asks = {step.id: step.approve for step in document.steps} if document is not None else {}
    found: list[ApprovalView] = []
    for step, state in run_view(run).steps.items():
        approve = asks.get(step)
        for host in state.hosts:
            waiting = host.waiting
            if not isinstance(waiting, WaitingView) or waiting.on != "approval":
                continue
            found.append(
                ApprovalView(
                    run=run.head.id,
                    workflow=run.head.workflow,
                    key=run.head.key,
                    step=step,
                    index=host.index,
                    item="" if host.item is None else msgspec.json.encode(host.item).decode()[:100],
                    message=waiting.message,
                    by=[] if approve is None else approve.by,
                    since=host.started_at,
                    until=waiting.until,
                    on_timeout="reject" if approve is None else approve.on_timeout,
                )
            )
    return found


HANDLERS = (list_approvals,)
