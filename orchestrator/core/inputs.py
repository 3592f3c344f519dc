"""What can happen to a run, and what the machine gives back.

Time, ids and randomness are in the input: `Env` carries the clock and the jitter of this one move.
"""

from typing import Any

from msgspec import Struct

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run
from schemas.errors import Conflict
from schemas.messages import Command, Result
from schemas.times import Micros

__all__ = [
    "CancelRun",
    "CommandExpired",
    "CommandReturned",
    "Dispatch",
    "Env",
    "IllegalInput",
    "Input",
    "Move",
    "ResolveTask",
    "ResultReceived",
    "Wake",
]


class IllegalInput(Conflict):
    """An input that does not go together with the run's state; the state is as it was."""

    code = "illegal_input"


class Env(Struct, frozen=True):
    """The world at the time of one move. `jitter` is in [0, 1), `start_within` and `grace` microseconds."""

    now: Micros
    jitter: float = 0.5
    epoch: int = 0
    start_within: Micros = 60_000_000
    grace: Micros = 30_000_000


class ResultReceived(Struct, frozen=True):
    """An agent said something of a command."""

    result: Result


class CommandReturned(Struct, frozen=True):
    """No queue takes commands for the agent or pool: the command went nowhere."""

    command: Command


class CommandExpired(Struct, frozen=True):
    """The broker dropped the command unconsumed: it was never started."""

    command: Command


class Wake(Struct, frozen=True):
    """The clock went on; whatever is due is looked at."""


class CancelRun(Struct, frozen=True):
    """A person wants the run undone and ended (rule 9)."""

    who: str
    reason: str


class ResolveTask(Struct, frozen=True):
    """A person decides about a task in doubt or a failed undo: `retry`, `skip` or `done` (rules 5, 7)."""

    step: str
    decision: str
    who: str
    why: str = ""
    host_index: int = 0
    output: Any = None


Input = ResultReceived | CommandReturned | CommandExpired | Wake | CancelRun | ResolveTask


class Dispatch(Struct, frozen=True):
    """A command to send. `target` is its routing key; `span_id` the parent for the agent's span."""

    target: str
    command: Command
    span_id: str


class Move(Struct, frozen=True):
    """What came of an input: the new state, the facts that lead to it, and the commands to send."""

    run: Run
    facts: list[Fact]
    commands: list[Dispatch]
