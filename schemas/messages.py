"""The messages between coordinator and agents.

Times are RFC 3339 with an offset, `Z` when we write them; `timeout` is in seconds. Unknown fields are
ignored, so that a newer peer can add one.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from schemas.names import NAME_PATTERN
from schemas.secrets import SecretRef
from schemas.times import MAX_DURATION
from schemas.workflow import DEFAULT_PRIORITY, MAX_PRIORITY

__all__ = [
    "NOT_STOPPABLE",
    "ActionInfo",
    "Command",
    "CommandKind",
    "ErrorInfo",
    "Presence",
    "Result",
    "ResultStatus",
    "command_id",
]

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Time = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[float, Meta(gt=0, le=MAX_DURATION / 1_000_000)]
Count = Annotated[int, Meta(ge=0, le=2**31)]


NOT_STOPPABLE: Final = "not_stoppable"
"""Error code of an `unknown` whose action goes on although it was told to stop."""


class CommandKind(StrEnum):
    """What an agent is asked to do."""

    EXECUTE = "execute"
    COMPENSATE = "compensate"
    QUERY = "query"
    CANCEL = "cancel"


class ResultStatus(StrEnum):
    """What an agent says of a command."""

    STARTED = "started"
    PROGRESS = "progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NEVER_SEEN = "never_seen"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come from this attempt."""
        return self not in (ResultStatus.STARTED, ResultStatus.PROGRESS)


class ErrorInfo(Struct, frozen=True, omit_defaults=True):
    """Why something failed. `retryable` is false for what would fail the same way again."""

    code: Annotated[str, Meta(min_length=1, max_length=64)]
    message: Annotated[str, Meta(max_length=8192)] = ""
    retryable: bool = True
    details: Any = None


def command_id(run_id: str, step: str, host_index: int, attempt: int, kind: CommandKind) -> str:
    """The id of a command: a pure function of what it is for, so that sending it twice is sending it once.

    The kinds `query` and `cancel` speak about the `execute` or `compensate` command whose id is
    `args["command_id"]`.
    """
    return f"{run_id}/{step}/{host_index}/{attempt}/{kind}"


class Command(Struct, frozen=True, omit_defaults=True):
    """From the coordinator to an agent: do this, undo this, say what became of this, stop this.

    `secrets`: where in `args` the agent puts the values of secrets, which it alone knows.
    """

    id: Id
    run_id: Id
    workflow: Id
    step: Id
    host_index: Count
    attempt: Count
    kind: CommandKind
    action: str
    issued_at: Time
    expires_at: Time
    timeout: Seconds
    epoch: Count
    reply_to: Name
    args: dict[str, Any] = field(default_factory=dict)
    secrets: Annotated[list[SecretRef], Meta(max_length=1_000)] = field(default_factory=list)
    idempotent: bool = False
    dry_run: bool = False
    priority: Annotated[int, Meta(ge=0, le=MAX_PRIORITY)] = DEFAULT_PRIORITY


class Result(Struct, frozen=True, omit_defaults=True):
    """From an agent to the coordinator: what became of a command.

    `started_at` is absent when the action never started. `log` is the tail of what the action printed.
    """

    command_id: Id
    run_id: Id
    step: Id
    host_index: Count
    attempt: Count
    epoch: Count
    agent: Name
    instance_id: Id
    status: ResultStatus
    output: Any = None
    error: ErrorInfo | None = None
    started_at: Time | None = None
    finished_at: Time | None = None
    log: Annotated[str, Meta(max_length=65536)] = ""


class ActionInfo(Struct, frozen=True, omit_defaults=True):
    """One action that an agent offers; `args` is the JSON Schema of its arguments.

    `undo`: likewise, of the function that a `compensate` of this action runs, where it has one of its own.
    `probe`: whether it can find out what became of an attempt that was lost.
    """

    name: str
    idempotent: bool = False
    description: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    undo: dict[str, Any] | None = None
    probe: bool = False


class Presence(Struct, frozen=True, omit_defaults=True):
    """An agent's announcement. `instance_id` changes when its journal was made anew."""

    name: Name
    instance_id: Id
    version: str
    at: Time
    pools: list[Name] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    actions: list[ActionInfo] = field(default_factory=list)
    stopping: bool = False
