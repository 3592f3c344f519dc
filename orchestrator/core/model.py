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
from schemas.workflow import DEFAULT_PRIORITY

__all__ = [
    "Failure",
    "ParentRef",
    "Run",
    "RunHead",
    "RunStatus",
    "StepStatus",
    "Task",
    "TraceContext",
    "Wait",
    "WaitOn",
    "all_done",
    "child_id",
    "step_status",
]


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


class ParentRef(Struct, frozen=True, omit_defaults=True):
    """The task of another run that a child run is for. `depth`: how many runs stand above it.

    `groups`: the concurrency groups that those are in; a child in one of them would wait for itself.
    `holders`: which of them these are, in the same order.
    """

    run_id: str
    step: str
    host_index: int
    attempt: int
    depth: int
    groups: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()


class RunHead(Struct, frozen=True, omit_defaults=True):
    """What is fixed when a run starts. `version` is the hash of the content of the definition it starts with.

    `group` is its concurrency group, empty for none. `retry_of`: the ended run whose results it goes on from.
    `hops`: how many runs in a row led to it, each started by an event that the one before it emitted.
    """

    id: str
    workflow: str
    version: str
    key: str
    created_at: Micros
    trace: TraceContext
    shard: str = "0"
    input: Any = None
    event: dict[str, Any] | None = None
    parent: ParentRef | None = None
    group: str = ""
    priority: int = DEFAULT_PRIORITY
    retry_of: str = ""
    hops: int = 0


def child_id(run_id: str, step: str, host_index: int, attempt: int) -> str:
    """Id of the child run that an attempt of a `workflow` step starts: a pure function, written as a UUID."""
    digest = blake2b(f"{run_id}/{step}/{host_index}/{attempt}".encode(), digest_size=16).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a run goes back: the step that failed (empty for the run itself), a code and a message."""

    step: str
    code: str
    message: str = ""


class WaitOn(StrEnum):
    """What a task without an agent waits for."""

    EVENT = "event"
    APPROVAL = "approval"
    TIME = "time"
    CHILD = "child"


class Wait(Struct, frozen=True, omit_defaults=True):
    """What a task waits for instead of an agent; an event is filed under (`topic`, `value`)."""

    on: WaitOn
    topic: str = ""
    value: str = ""
    child: str = ""
    message: str = ""


class Task(Struct, frozen=True, omit_defaults=True):
    """One unit of a step: on one host, for one item, or all of a plain step.

    `command_id` is the outstanding command and `wait` what is waited for instead; `due` is when either is
    given up (a command then is in doubt) or, with neither, when the next attempt is made. `taken_at` is when
    an agent said that it had begun the outstanding command. `agent` is who took the last forward attempt,
    `effect_agent` who last left an effect, `instance` the agent's instance id that was known when the command
    was sent. `child` is the child run whose effect this is, else the last one that was to start. `granted`
    counts the attempts used up before a person asked for more. `effect` once true stays true until a person
    says otherwise (rule 4).

    `event` is the source and id of the event that it took. `part`: it is one of a step that fans out; then
    `host`, `labels` and `batch` belong to one over hosts, `item` to a `foreach`. `queries` counts how often
    agents were asked about a command in doubt, `denied` are the members of a pool that never saw it, `lost`:
    its agent does not know either. `parked`: it failed, and a person decides. `tolerated`: it failed, and the
    run goes on all the same.
    """

    status: StepStatus = StepStatus.PENDING
    undoing: bool = False
    attempt: int = 0
    undo_attempt: int = 0
    granted: int = 0
    command_id: str = ""
    wait: Wait | None = None
    target: str = ""
    agent: str = ""
    effect_agent: str = ""
    instance: str = ""
    child: str = ""
    event: tuple[str, str] | None = None
    part: bool = False
    host: str = ""
    labels: dict[str, str] = {}
    batch: int = 0
    item: Any = None
    due: Micros | None = None
    taken_at: Micros | None = None
    started_at: Micros | None = None
    ended_at: Micros | None = None
    undo_started_at: Micros | None = None
    undo_ended_at: Micros | None = None
    effect: bool = False
    cancel_sent: bool = False
    given_up: bool = False
    parked: bool = False
    tolerated: bool = False
    queries: int = 0
    denied: tuple[str, ...] = ()
    lost: bool = False
    output: Any = None
    error: ErrorInfo | None = None
    undo_error: ErrorInfo | None = None

    @property
    def in_question(self) -> bool:
        """Whether a person may decide about it: in doubt, an undo that failed for good, or parked."""
        return (
            self.status is StepStatus.IN_DOUBT
            or (self.status is StepStatus.COMPENSATION_FAILED and not self.given_up)
            or (self.status is StepStatus.FAILED and self.parked)
        )

    @property
    def is_unnoticed(self) -> bool:
        """Whether it failed for good, and nothing has come of that yet."""
        return self.status is StepStatus.FAILED and not self.parked and not self.tolerated

    @property
    def needs_person(self) -> bool:
        """Whether only a person or a late answer moves it on; not while agents are first asked (rule 7)."""
        return self.in_question and (self.status is not StepStatus.IN_DOUBT or self.lost or self.queries != 1)

    @property
    def is_done(self) -> bool:
        """Whether what needs it may go on."""
        return (
            self.status is StepStatus.SUCCEEDED
            or self.status is StepStatus.SKIPPED
            or (self.status is StepStatus.FAILED and self.tolerated)
        )


class Run(Struct, frozen=True, omit_defaults=True):
    """The state of one run: `fold` of its history. `seq` is the number of facts folded.

    `steps` is empty while it is `queued`. `moved_to`: the version it was moved to, empty for its head's.
    `deadline`: when it goes back unless it is done. `pivoted`: nothing is undone any more (rule 6). `held`:
    all its steps are done, and it waits for its parent's end or undo (rule 10). `yielded_at`: when its last
    move stopped with more to do, which is done at once, but in a move of its own.
    """

    head: RunHead
    steps: dict[str, tuple[Task, ...]]
    seq: int = 0
    moved_to: str = ""
    queued: bool = False
    paused: bool = False
    pivoted: bool = False
    held: bool = False
    deadline: Micros | None = None
    failure: Failure | None = None
    cancel: str | None = None
    reason: str = ""
    ignored: int = 0
    output: Any = None
    ended: RunStatus | None = None
    ended_at: Micros | None = None
    yielded_at: Micros | None = None

    @property
    def version(self) -> str:
        """The hash of the content of the definition that it keeps to."""
        return self.moved_to or self.head.version

    @property
    def going_back(self) -> bool:
        """Whether no forward step may start any more (rule 3)."""
        return self.failure is not None

    @property
    def status(self) -> RunStatus:
        """The run's status, from its end or from its tasks."""
        if self.ended is not None:
            return self.ended
        if self.queued:
            return RunStatus.QUEUED
        if self.paused:
            return RunStatus.PAUSED
        for tasks in self.steps.values():
            for task in tasks:
                if task.status not in _AT_EASE and task.needs_person:
                    return RunStatus.ATTENTION
        return RunStatus.COMPENSATING if self.going_back else RunStatus.RUNNING

    @property
    def wake_at(self) -> Micros | None:
        """When the run must be looked at even if nothing arrives; None when nothing is due."""
        if self.ended is not None:
            return None
        found = [task.due for tasks in self.steps.values() for task in tasks if task.due is not None]
        if self.paused:
            found = [
                task.due
                for tasks in self.steps.values()
                for task in tasks
                if task.due is not None and not self._rests(task)
            ]
        if self.deadline is not None and not (self.going_back or self.paused or self.pivoted or self.held):
            found.append(self.deadline)
        if self.yielded_at is not None:
            found.append(self.yielded_at)
        return min(found, default=None)

    @staticmethod
    def _rests(task: Task) -> bool:
        """Whether it is due to begin something, which a paused run does not do."""
        return not task.command_id and task.wait is None

    @property
    def waits(self) -> dict[tuple[str, int], Wait]:
        """The tasks that wait for an event, by (step, host_index)."""
        return {
            (step, index): task.wait
            for step, tasks in self.steps.items()
            for index, task in enumerate(tasks)
            if task.wait is not None and task.wait.on is WaitOn.EVENT
        }


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


_SUCCEEDED, _SKIPPED, _FAILED = StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.FAILED
_AT_EASE = (_SUCCEEDED, StepStatus.RUNNING, StepStatus.PENDING, StepStatus.COMPENSATED, _SKIPPED)
"""What needs nobody, most frequent first: this is asked of each task at each move."""


def all_done(tasks: tuple[Task, ...]) -> bool:
    """Whether what needs this step may go on."""
    for task in tasks:
        status = task.status
        if not (status is _SUCCEEDED or status is _SKIPPED or (status is _FAILED and task.tolerated)):
            return False
    return True


def step_status(tasks: tuple[Task, ...]) -> StepStatus:
    """The status of a step from its tasks': the one that matters most to whoever looks.

    A fan-out that tolerates failures is `succeeded` all the same; one over an empty list too.
    """
    if len(tasks) == 1:
        return tasks[0].status
    present = {task.status for task in tasks if not task.tolerated}
    return next((status for status in _ORDER if status in present), StepStatus.SUCCEEDED)
