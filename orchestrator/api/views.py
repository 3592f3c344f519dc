"""What the API shows, as plain JSON shapes. Times are RFC 3339 UTC text, absent ones null."""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from orchestrator.store.port import AgentRecord, InboxRecord, Page, StoredDefinition, VersionSummary
from schemas.messages import ActionInfo
from schemas.times import Micros, to_rfc3339

__all__ = [
    "AgentView",
    "InboxView",
    "ItemList",
    "VersionView",
    "WorkflowItem",
    "WorkflowView",
    "agent_view",
    "inbox_view",
    "item_list",
    "version_view",
    "workflow_item",
    "workflow_view",
]

T = TypeVar("T")


class ItemList(Struct, Generic[T], frozen=True):
    """Part of a list; `next` as `?cursor=` asks for the part after it, null at the end."""

    items: list[T]
    next: str | None = None


class WorkflowItem(Struct, frozen=True):
    """A workflow in a list: the version that new runs take, and when it was first applied."""

    workflow: str
    version: str
    applied_at: str


class WorkflowView(Struct, frozen=True):
    """A workflow with its document."""

    workflow: str
    version: str
    applied_at: str
    document: Any


class VersionView(Struct, frozen=True):
    """A version of a workflow: whether new runs take it, and how many live runs keep to it."""

    version: str
    applied_at: str
    current: bool
    live_runs: int


class AgentView(Struct, frozen=True):
    """An agent's last announcement: `at` by its own clock, `seen_at` by the coordinator's.

    `live`: it is not long ago, and was not that it stops.
    """

    name: str
    live: bool
    instance_id: str
    version: str
    pools: list[str]
    labels: dict[str, str]
    actions: list[ActionInfo]
    stopping: bool
    at: str
    seen_at: str


class InboxView(Struct, frozen=True):
    """What became of an event (`kind` is `event`), or of a result that was refused (`result`)."""

    kind: str
    source: str
    id: str
    type: str
    at: str
    outcome: str
    reason: str
    runs: list[str]
    more_runs: int


def item_list(page: Page[Any], items: list[T]) -> ItemList[T]:
    """A list in the API from a page of the store."""
    return ItemList(items, page.next)


def workflow_item(definition: StoredDefinition) -> WorkflowItem:
    """A workflow as lists show it."""
    return WorkflowItem(definition.workflow, definition.version, to_rfc3339(definition.at))


def workflow_view(definition: StoredDefinition) -> WorkflowView:
    """A workflow as it is shown by itself."""
    document = msgspec.json.decode(definition.document)
    return WorkflowView(definition.workflow, definition.version, to_rfc3339(definition.at), document)


def version_view(version: VersionSummary) -> VersionView:
    """A version as lists show it."""
    return VersionView(version.version, to_rfc3339(version.at), version.current, version.live_runs)


def agent_view(record: AgentRecord, *, live_since: Micros) -> AgentView:
    """An agent's announcement; one from `live_since` on counts as recent."""
    presence = record.presence
    return AgentView(
        name=presence.name,
        live=not presence.stopping and record.seen_at > live_since,
        instance_id=presence.instance_id,
        version=presence.version,
        pools=presence.pools,
        labels=presence.labels,
        actions=presence.actions,
        stopping=presence.stopping,
        at=presence.at.isoformat(),
        seen_at=to_rfc3339(record.seen_at),
    )


def inbox_view(record: InboxRecord) -> InboxView:
    """What became of an event or a refused result."""
    return InboxView(
        kind=record.kind,
        source=record.source,
        id=record.id,
        type=record.type,
        at=to_rfc3339(record.at),
        outcome=record.outcome,
        reason=record.reason,
        runs=record.runs,
        more_runs=record.more,
    )
