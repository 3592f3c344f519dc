"""What can happen to a run, and what the machine gives back.

Time, ids and randomness are in the input: `Env` carries the clock, the jitter and the known agents of this
one move. Signals are inputs that one run's move causes for another; they are stored until that one has had
them.
"""

from typing import Any, Final, Literal

from msgspec import Struct

from orchestrator.core.definition import Definition
from orchestrator.core.facts import Fact
from orchestrator.core.model import Run, RunStatus
from orchestrator.core.registry import Registry
from schemas.codec import MAX_EVENT_BYTES, MAX_OUTPUT_BYTES
from schemas.errors import Conflict
from schemas.messages import Command, Result
from schemas.times import Micros

__all__ = [
    "NO_LIMITS",
    "AdmitRun",
    "ApproveTask",
    "CancelRun",
    "ChildEnded",
    "CommandExpired",
    "CommandReturned",
    "Dispatch",
    "Emission",
    "Env",
    "EventArrived",
    "IllegalInput",
    "Input",
    "Limits",
    "Move",
    "MoveRun",
    "PauseRun",
    "ReleaseRun",
    "ResolveTask",
    "ResultReceived",
    "ResumeRun",
    "RetryFrom",
    "RetryNow",
    "Signal",
    "SignalInput",
    "StartChild",
    "UndoRun",
    "Wake",
]


class IllegalInput(Conflict):
    """An input that does not go together with the run's state; the state is as it was."""

    code = "illegal_input"


class Limits(Struct, frozen=True):
    """Bounds that a run is held to; past one, the step (or the run) fails with a clear error.

    `at_once` (setting max_move) is none of these: so many tasks one move begins, undoes or stops; the rest is
    left to the next.
    """

    fan_out: int = 10_000
    child_depth: int = 8
    history: int = 200_000
    wait: Micros = 366 * 86_400_000_000
    args_bytes: int = 512 * 1024
    output_bytes: int = MAX_OUTPUT_BYTES
    event_bytes: int = MAX_EVENT_BYTES
    at_once: int = 500


NO_LIMITS: Final = Limits()
"""The defaults; see `orchestrator.settings`."""


class Env(Struct, frozen=True):
    """The world at the time of one move. `jitter` is in [0, 1); the lengths of time are microseconds."""

    now: Micros
    jitter: float = 0.5
    epoch: int = 0
    start_within: Micros = 60_000_000
    grace: Micros = 30_000_000
    query_every: Micros = 30_000_000
    registry: Registry = Registry()
    limits: Limits = NO_LIMITS


# From agents and the bus


class ResultReceived(Struct, frozen=True):
    """An agent said something of a command."""

    result: Result


class CommandReturned(Struct, frozen=True):
    """No queue takes commands for the agent or pool: the command went nowhere."""

    command: Command


class CommandExpired(Struct, frozen=True):
    """The broker dropped the command unconsumed: it was never started."""

    command: Command


class EventArrived(Struct, frozen=True):
    """An event came that these tasks, as (step, host_index), may be waiting for.

    `event` is as expressions see it.
    """

    event: dict[str, Any]
    tasks: list[tuple[str, int]]


class Wake(Struct, frozen=True):
    """The clock went on; whatever is due is looked at."""


class AdmitRun(Struct, frozen=True):
    """The run's concurrency group has room for it."""


# From people; `who` and `why` go into the history


class CancelRun(Struct, frozen=True, tag="cancel"):
    """A person (or the parent of a child run) wants the run undone and ended (rule 9)."""

    who: str
    reason: str
    by_parent: bool = False


class PauseRun(Struct, frozen=True):
    """Let nothing new start, neither a step nor an undo."""

    who: str
    why: str = ""


class ResumeRun(Struct, frozen=True):
    """Let a paused run go on."""

    who: str
    why: str = ""


class ResolveTask(Struct, frozen=True):
    """A person decides about a task in doubt, a failed undo, or a parked one: `retry`, `skip` or `done`.

    Rules 5, 6 and 7. `skip` of a failed undo gives up on it.
    """

    step: str
    decision: str
    who: str
    why: str = ""
    host_index: int = 0
    output: Any = None


class ApproveTask(Struct, frozen=True):
    """A person answers an `approve` step."""

    step: str
    approved: bool
    who: str
    why: str = ""
    host_index: int = 0


class RetryNow(Struct, frozen=True):
    """Make every attempt that waits for its turn at once."""

    who: str
    why: str = ""


class RetryFrom(Struct, frozen=True):
    """Do a step and all that depends on it again, in a live run; the rest keeps its results."""

    step: str
    who: str
    why: str = ""


class MoveRun(Struct, frozen=True):
    """Let a live run keep to another version of its workflow, in which the part begun is unchanged."""

    to: Definition
    who: str
    why: str = ""


# From other runs


class ChildEnded(Struct, frozen=True, tag="child_ended"):
    """What became of the child run that a task waits for.

    `outcome`: it did all its steps (`done`), it ended otherwise (`failed`), it was undone (`undone`), a
    person gave up on one of its undos (`given_up`), or it cannot be undone (`refused`). `status` is the
    child's.
    """

    step: str
    host_index: int
    run_id: str
    outcome: Literal["done", "failed", "undone", "given_up", "refused"]
    status: RunStatus | None = None
    output: Any = None
    code: str = ""
    message: str = ""


class UndoRun(Struct, frozen=True, tag="undo"):
    """The parent goes back: a child that has done its steps runs its own undos (rule 10)."""

    reason: str


class ReleaseRun(Struct, frozen=True, tag="release"):
    """The parent has ended: the child's end is for good."""


SignalInput = CancelRun | ChildEnded | UndoRun | ReleaseRun

Input = (
    ResultReceived
    | CommandReturned
    | CommandExpired
    | EventArrived
    | Wake
    | AdmitRun
    | CancelRun
    | PauseRun
    | ResumeRun
    | ResolveTask
    | ApproveTask
    | RetryNow
    | RetryFrom
    | MoveRun
    | ChildEnded
    | UndoRun
    | ReleaseRun
)


class Dispatch(Struct, frozen=True):
    """A command to send. `target` is its routing key; `span_id` the parent for the agent's span."""

    target: str
    command: Command
    span_id: str


class StartChild(Struct, frozen=True):
    """A child run to start, with this id and input. `span_id`: its parent in the trace."""

    run_id: str
    workflow: str
    step: str
    host_index: int
    attempt: int
    input: Any
    span_id: str
    priority: int


class Emission(Struct, frozen=True):
    """An event to publish. `span_id`: what the event's receivers continue."""

    id: str
    type: str
    data: Any
    subject: str
    span_id: str


class Signal(Struct, frozen=True):
    """Something that another run is to be told."""

    to: str
    given: SignalInput


class Move(Struct, frozen=True):
    """What came of an input: the new state, the facts that lead to it, and what is to be sent and started."""

    run: Run
    facts: list[Fact]
    commands: list[Dispatch]
    children: list[StartChild] = []
    emissions: list[Emission] = []
    signals: list[Signal] = []
