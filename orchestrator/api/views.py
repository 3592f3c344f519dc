"""What the API shows, as plain JSON shapes. Times are RFC 3339 UTC text, absent ones null."""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from orchestrator.core.model import Run, Task, step_status
from orchestrator.store.port import AgentRecord, HistoryEntry, InboxRecord, Page, RunSummary, StoredDefinition
from schemas.messages import ActionInfo, ErrorInfo
from schemas.times import Micros, to_rfc3339

__all__ = [
    "AgentView",
    "HostView",
    "InboxView",
    "ItemList",
    "RunItem",
    "RunView",
    "StepView",
    "WorkflowItem",
    "WorkflowView",
    "agent_view",
    "history_view",
    "inbox_view",
    "item_list",
    "run_item",
    "run_view",
    "workflow_item",
    "workflow_view",
]

T = TypeVar("T")


class ItemList(Struct, Generic[T], frozen=True):
    """Part of a list; `next` as `?cursor=` asks for the part after it, null at the end."""

    items: list[T]
    next: str | None = None


class RunItem(Struct, frozen=True):
    """A run in a list."""

    id: str
    workflow: str
    version: str
    key: str
    status: str
    reason: str
    trace_id: str
    started_at: str
    ended_at: str | None


class HostView(Struct, frozen=True):
    """One task of a step: who does it, and how far it is. `due`: when the coordinator looks at it again."""

    name: str
    status: str
    attempts: int
    started_at: str | None
    ended_at: str | None
    output: Any
    error: ErrorInfo | None
    undo_attempts: int
    undo_started_at: str | None
    undo_ended_at: str | None
    undo_error: ErrorInfo | None
    due: str | None


class StepView(Struct, frozen=True):
    """One step of a run; `error` is the undo's when that failed, else the action's."""

    status: str
    attempts: int
    started_at: str | None
    ended_at: str | None
    output: Any
    error: ErrorInfo | None
    hosts: list[HostView]


class RunView(RunItem, frozen=True):
    """A run in full."""

    input: Any
    output: Any
    steps: dict[str, StepView]


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


def item_list(page: Page[Any], items: list[T]) -> ItemList[T]:
    """A list in the API from a page of the store."""
    return ItemList(items, page.next)


def run_item(run: RunSummary) -> RunItem:
    """A run as lists show it."""
    return RunItem(
        id=run.id,
        workflow=run.workflow,
        version=run.version,
        key=run.key,
        status=run.status,
        reason=run.reason,
        trace_id=run.trace_id,
        started_at=to_rfc3339(run.created_at),
        ended_at=_time(run.ended_at),
    )


def run_view(run: Run) -> RunView:
    """A run as it is shown by itself."""
    head = run.head
    return RunView(
        id=head.id,
        workflow=head.workflow,
        version=head.version,
        key=head.key,
        status=run.status,
        reason=run.reason,
        trace_id=head.trace.trace_id,
        started_at=to_rfc3339(head.created_at),
        ended_at=_time(run.ended_at),
        input=head.input,
        output=run.output,
        steps={step: _step_view(tasks) for step, tasks in run.steps.items()},
    )


def _step_view(tasks: tuple[Task, ...]) -> StepView:
    started = [task.started_at for task in tasks if task.started_at is not None]
    ended = [task.undo_ended_at or task.ended_at for task in tasks]
    errors = [task.undo_error or task.error for task in tasks]
    return StepView(
        status=step_status(tasks),
        attempts=max(task.attempt for task in tasks),
        started_at=_time(min(started, default=None)),
        ended_at=None if None in ended else _time(max(at for at in ended if at is not None)),
        output=tasks[0].output if len(tasks) == 1 else [task.output for task in tasks],
        error=next((error for error in errors if error is not None), None),
        hosts=[_host_view(task) for task in tasks],
    )


def _host_view(task: Task) -> HostView:
    return HostView(
        name=task.agent or task.effect_agent or task.target.removeprefix("agent."),
        status=task.status,
        attempts=task.attempt,
        started_at=_time(task.started_at),
        ended_at=_time(task.ended_at),
        output=task.output,
        error=task.error,
        undo_attempts=task.undo_attempt,
        undo_started_at=_time(task.undo_started_at),
        undo_ended_at=_time(task.undo_ended_at),
        undo_error=task.undo_error,
        due=_time(task.due),
    )


_FACT_TIMES = ("at", "due", "retry_at", "started_at", "finished_at")


def history_view(entry: HistoryEntry) -> dict[str, Any]:
    """A fact as JSON: `seq`, `at`, `fact` (its kind) and what belongs to it."""
    fact: dict[str, Any] = msgspec.to_builtins(entry.fact)
    for name in _FACT_TIMES:
        if fact.get(name) is not None:
            fact[name] = to_rfc3339(fact[name])
    return {"seq": entry.seq, "at": fact.pop("at"), "fact": fact.pop("fact"), **fact}


def workflow_item(definition: StoredDefinition) -> WorkflowItem:
    """A workflow as lists show it."""
    return WorkflowItem(definition.workflow, definition.version, to_rfc3339(definition.at))


def workflow_view(definition: StoredDefinition) -> WorkflowView:
    """A workflow as it is shown by itself."""
    document = msgspec.json.decode(definition.document)
    return WorkflowView(definition.workflow, definition.version, to_rfc3339(definition.at), document)


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
    )


def _time(at: Micros | None) -> str | None:
    return None if at is None else to_rfc3339(at)
