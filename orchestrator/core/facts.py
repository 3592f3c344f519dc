"""Facts: what a run's history is made of. `orchestrator.core.evolution` says what each one changes."""

from typing import Any

from msgspec import Struct

from orchestrator.core.model import Failure, RunStatus, StepStatus, Task, Wait
from schemas.messages import ErrorInfo
from schemas.times import Micros

__all__ = [
    "AttemptFailed",
    "AttemptSent",
    "AttemptStarted",
    "AttemptSucceeded",
    "BatchPaused",
    "CancelSent",
    "EventEmitted",
    "Fact",
    "FailureTolerated",
    "HostRef",
    "NeverSeen",
    "PivotPassed",
    "QuerySent",
    "ResultIgnored",
    "RetryHurried",
    "RunEnded",
    "RunGoingBack",
    "RunHeld",
    "RunMoved",
    "RunPaused",
    "RunQueued",
    "RunResumed",
    "RunStarted",
    "RunYielded",
    "StepExpanded",
    "StepsKept",
    "StepsReset",
    "TaskCancelled",
    "TaskDone",
    "TaskInDoubt",
    "TaskParked",
    "TaskResolved",
    "TaskSkipped",
    "TaskWaiting",
]


class _Fact(Struct, frozen=True, omit_defaults=True, tag=True, tag_field="fact"):
    """Something that happened, at a time."""

    at: Micros


class RunQueued(_Fact, frozen=True, tag="run_queued"):
    """The run waits until its concurrency group has room."""

    group: str


class RunStarted(_Fact, frozen=True, tag="run_started"):
    """The run began, with these steps. `deadline`: when it goes back unless it is done."""

    steps: list[str]
    deadline: Micros | None = None


class StepsKept(_Fact, frozen=True, tag="steps_kept"):
    """The run is a retry of an ended one, and has the results of these steps from it."""

    steps: dict[str, tuple[Task, ...]]


class HostRef(Struct, frozen=True, omit_defaults=True):
    """A host of a fan-out, with its labels when the step started, and the batch (from 0) that it is in."""

    name: str
    labels: dict[str, str] = {}
    batch: int = 0


class StepExpanded(_Fact, frozen=True, tag="step_expanded"):
    """A step that fans out got its tasks: one for each item, or one for each host."""

    step: str
    items: list[Any] | None = None
    hosts: list[HostRef] | None = None


class BatchPaused(_Fact, frozen=True, tag="batch_paused"):
    """A batch of a rollout is done; the next one begins at `until`."""

    step: str
    batch: int
    until: Micros


class RunYielded(_Fact, frozen=True, tag="run_yielded"):
    """So much was begun or stopped at once that other runs come first; the rest follows at once."""


class TaskSkipped(_Fact, frozen=True, tag="task_skipped"):
    """The step's `if` was false."""

    step: str
    host_index: int


class AttemptSent(_Fact, frozen=True, tag="attempt_sent"):
    """A command was handed to the bus. `due`: when its outcome is in doubt if nothing was heard.

    `instance`: the instance id of its agent that was known then, empty when none was.
    """

    step: str
    host_index: int
    undo: bool
    attempt: int
    command_id: str
    action: str
    target: str
    due: Micros
    instance: str = ""


class AttemptStarted(_Fact, frozen=True, tag="attempt_started"):
    """An agent said that it has begun. `due` moves to the end of the attempt's own time limit."""

    step: str
    host_index: int
    command_id: str
    agent: str
    due: Micros


class AttemptSucceeded(_Fact, frozen=True, tag="attempt_succeeded"):
    """The agent did it. `output` is what the step's `output` template made of the action's output."""

    step: str
    host_index: int
    command_id: str
    agent: str
    output: Any = None
    started_at: Micros | None = None
    finished_at: Micros | None = None


class AttemptFailed(_Fact, frozen=True, tag="attempt_failed"):
    """An attempt ended without success. `status` is the result's, or `returned`, `expired`, `not_sent`.

    `effect`: it may have left something behind. `retry_at`: when the next attempt goes out; None: it failed
    for good, and the task becomes `outcome`.
    """

    step: str
    host_index: int
    command_id: str
    status: str
    error: ErrorInfo
    undo: bool = False
    effect: bool = False
    retry_at: Micros | None = None
    outcome: StepStatus = StepStatus.FAILED
    agent: str = ""
    started_at: Micros | None = None
    finished_at: Micros | None = None


class TaskInDoubt(_Fact, frozen=True, tag="task_in_doubt"):
    """Nobody knows what became of the outstanding command (rule 7). `lost`: its agent said so.

    `due`: when agents are asked, if not at once.
    """

    step: str
    host_index: int
    command_id: str
    why: str
    lost: bool = False
    due: Micros | None = None


class QuerySent(_Fact, frozen=True, tag="query_sent"):
    """Agents were asked what became of the command in doubt; they are asked again at `due`."""

    step: str
    host_index: int
    command_id: str
    agents: list[str]
    due: Micros


class NeverSeen(_Fact, frozen=True, tag="never_seen"):
    """One member of a pool never saw the command in doubt; the others have yet to answer."""

    step: str
    host_index: int
    command_id: str
    agent: str


class TaskWaiting(_Fact, frozen=True, tag="task_waiting"):
    """The task waits for something that is no agent, until `due` (None: as long as it takes)."""

    step: str
    host_index: int
    attempt: int
    wait: Wait
    due: Micros | None = None
    undo: bool = False


class TaskDone(_Fact, frozen=True, tag="task_done"):
    """A task without an agent did what it is for, or was undone. `who` and `why`: of a person.

    `event`: the source and id of the event that it took, if it waited for one.
    """

    step: str
    host_index: int
    output: Any = None
    undo: bool = False
    who: str = ""
    why: str = ""
    event: tuple[str, str] | None = None


class EventEmitted(_Fact, frozen=True, tag="event_emitted"):
    """An `emit` step published its event."""

    step: str
    host_index: int
    attempt: int
    event_id: str
    type: str


class TaskParked(_Fact, frozen=True, tag="task_parked"):
    """A task failed for good, and the run does not go back for it: a person decides."""

    step: str
    host_index: int
    why: str


class FailureTolerated(_Fact, frozen=True, tag="failure_tolerated"):
    """A task failed for good, and the run goes on all the same."""

    step: str
    host_index: int


class CancelSent(_Fact, frozen=True, tag="cancel_sent"):
    """The agent was asked to stop the outstanding command."""

    step: str
    host_index: int
    command_id: str
    agent: str


class TaskCancelled(_Fact, frozen=True, tag="task_cancelled"):
    """The task will not start, or not be tried again, because the run goes back."""

    step: str
    host_index: int


class RunGoingBack(_Fact, frozen=True, tag="run_going_back"):
    """The run failed or was cancelled; from here on nothing new goes forward (rule 3)."""

    failure: Failure
    cancelled_by: str = ""


class PivotPassed(_Fact, frozen=True, tag="pivot_passed"):
    """The pivot succeeded: nothing is undone from here on (rule 6). A run that was about to goes on."""

    step: str


class RunPaused(_Fact, frozen=True, tag="run_paused"):
    """Nothing new starts, neither a step nor an undo; what runs goes on."""

    who: str
    why: str = ""


class RunResumed(_Fact, frozen=True, tag="run_resumed"):
    """A paused run goes on."""

    who: str
    why: str = ""


class RetryHurried(_Fact, frozen=True, tag="retry_hurried"):
    """Somebody does not want to wait for the next attempt."""

    step: str
    host_index: int
    who: str
    why: str = ""


class StepsReset(_Fact, frozen=True, tag="steps_reset"):
    """Somebody wants these steps done again; their effects stay to be undone."""

    steps: list[str]
    who: str
    why: str = ""


class RunMoved(_Fact, frozen=True, tag="run_moved"):
    """The run keeps to another version of its workflow from here on, which has these steps."""

    version: str
    steps: list[str]
    who: str
    why: str = ""


class RunHeld(_Fact, frozen=True, tag="run_held"):
    """A child run has done all its steps, and waits for its parent's end or undo (rule 10)."""

    output: Any = None


class ResultIgnored(_Fact, frozen=True, tag="result_ignored"):
    """A late, duplicate or foreign result was seen and changed nothing (rule 8)."""

    step: str
    host_index: int
    command_id: str
    status: str
    agent: str
    why: str


class TaskResolved(_Fact, frozen=True, tag="task_resolved"):
    """A person decided about a task that needed one: `retry`, `skip` or `done`."""

    step: str
    host_index: int
    decision: str
    who: str
    why: str = ""
    output: Any = None


class RunEnded(_Fact, frozen=True, tag="run_ended"):
    """The run reached an end."""

    status: RunStatus
    reason: str = ""
    output: Any = None


Fact = (
    RunQueued
    | RunStarted
    | StepsKept
    | StepExpanded
    | BatchPaused
    | TaskSkipped
    | AttemptSent
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | TaskInDoubt
    | QuerySent
    | NeverSeen
    | TaskWaiting
    | TaskDone
    | EventEmitted
    | TaskParked
    | FailureTolerated
    | CancelSent
    | TaskCancelled
    | RunGoingBack
    | PivotPassed
    | RunPaused
    | RunResumed
    | RetryHurried
    | StepsReset
    | RunMoved
    | RunHeld
    | RunYielded
    | ResultIgnored
    | TaskResolved
    | RunEnded
)
