"""The state of a run. Everything is immutable; a change is a new value made by folding a fact.

`Run.status` and `Run.wake_at` are computed from the tasks and never stored twice, so they cannot disagree
with them: a timer cannot be forgotten, because it is not a thing of its own.
"""

from enum import StrEnum
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from schemas.messages import ErrorInfo
from schemas.times import Micros

__all__ = ["Failure", "Run", "RunHead", "RunStatus", "StepStatus", "Task", "TraceContext", "step_status"]


class RunStatus(StrEnum):
    """Where a run stands. The last four are for good."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPENSATING = "compensating"
    ATTENTION = "attention"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    COMPENSATED = "compensated"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self in _FINAL


_FINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.COMPENSATED, RunStatus.CANCELLED})


class StepStatus(StrEnum):
    """Where a step, or one task of it, stands."""

    PENDING = "pending"
    RUNNING = "running"
    IN_DOUBT = "in_doubt"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class TraceContext(Struct, frozen=True, omit_defaults=True):
    """The run's place in a trace, chosen when it starts: lower-case hex, W3C lengths."""

    trace_id: str
    span_id: str
    parent_id: str = ""

    def span_of(self, step: str, host_index: int, *, undo: bool) -> str:
        """Span id of one task; a function of the run's own ids, so the same after any crash."""
        name = f"{self.trace_id}/{self.span_id}/{step}/{host_index}/{'undo' if undo else 'do'}"
        return blake2b(name.encode(), digest_size=8).hexdigest()


class RunHead(Struct, frozen=True, omit_defaults=True):
    """What is fixed when a run starts. `version` is the definition's content hash."""

    id: str
    workflow: str
    version: str
    key: str
    created_at: Micros
    trace: TraceContext
    shard: str = "0"
    input: Any = None
    event: dict[str, Any] | None = None


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a run goes back: the step that failed (empty for the run itself), a code and a message."""

    step: str
    code: str
    message: str = ""


class Task(Struct, frozen=True, omit_defaults=True):
    """One unit of a step on one host.

    `command_id` is the outstanding command, empty when none is; `due` is when it goes in doubt or, with no
    command outstanding, when the next attempt is sent. `taken_at` is when an agent said that it had begun the
    outstanding command. `agent` is who took the last forward attempt, `effect_agent` who last left an effect.
    `granted` counts the attempts used up before a person asked for more. `effect` once true stays true
    until a person says otherwise (rule 4).
    """

    status: StepStatus = StepStatus.PENDING
    undoing: bool = False
    attempt: int = 0
    undo_attempt: int = 0
    granted: int = 0
    command_id: str = ""
    target: str = ""
    agent: str = ""
    effect_agent: str = ""
    due: Micros | None = None
    taken_at: Micros | None = None
    started_at: Micros | None = None
    ended_at: Micros | None = None
    undo_started_at: Micros | None = None
    undo_ended_at: Micros | None = None
    effect: bool = False
    cancel_sent: bool = False
    given_up: bool = False
    output: Any = None
    error: ErrorInfo | None = None
    undo_error: ErrorInfo | None = None

    @property
    def needs_person(self) -> bool:
        """Whether only a person (or a late answer) can move this task on."""
        return self.status is StepStatus.IN_DOUBT or (
            self.status is StepStatus.COMPENSATION_FAILED and not self.given_up
        )


class Run(Struct, frozen=True, omit_defaults=True):
    """The state of one run: `fold` of its history. `seq` is the number of facts folded."""

    head: RunHead
    steps: dict[str, tuple[Task, ...]]
    seq: int = 0
    failure: Failure | None = None
    cancel: str | None = None
    reason: str = ""
    ignored: int = 0
    output: Any = None
    ended: RunStatus | None = None
    ended_at: Micros | None = None

    @property
    def going_back(self) -> bool:
        """Whether no forward step may start any more (rule 3)."""
        return self.failure is not None

    @property
    def status(self) -> RunStatus:
        """The run's status, from its end or from its tasks."""
        if self.ended is not None:
            return self.ended
        if any(task.needs_person for tasks in self.steps.values() for task in tasks):
            return RunStatus.ATTENTION
        return RunStatus.COMPENSATING if self.going_back else RunStatus.RUNNING

    @property
    def wake_at(self) -> Micros | None:
        """When the run must be looked at even if nothing arrives; None when nothing is due."""
        if self.ended is not None:
            return None
        return min(
            (task.due for tasks in self.steps.values() for task in tasks if task.due is not None),
            default=None,
        )


_ORDER = (
    StepStatus.IN_DOUBT,
    StepStatus.COMPENSATION_FAILED,
    StepStatus.COMPENSATING,
    StepStatus.RUNNING,
    StepStatus.FAILED,
    StepStatus.CANCELLED,
    StepStatus.PENDING,
    StepStatus.COMPENSATED,
    StepStatus.SUCCEEDED,
    StepStatus.SKIPPED,
)


def step_status(tasks: tuple[Task, ...]) -> StepStatus:
    """The status of a step from its tasks': the one that matters most to whoever looks."""
    if len(tasks) == 1:
        return tasks[0].status
    present = {task.status for task in tasks}
    return next((status for status in _ORDER if status in present), StepStatus.PENDING)
