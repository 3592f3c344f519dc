"""What is to be done about each message that arrives, decided before anything is written or run."""

import logging
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from agents.answers import Identity, Outcome, answer, error_info, failure
from agents.context import Context
from agents.jobs import Job
from agents.journal import Entry
from agents.processes import Processes
from agents.sdk import Action, BadArguments
from runtime.bus.port import Delivery
from schemas.codec import Malformed, decode
from schemas.messages import Command, CommandKind, ResultStatus
from schemas.names import AGAIN_HEADER, Topology
from schemas.times import Micros, from_datetime

__all__ = ["Intake", "Taken", "Workshop", "rejected"]

log = logging.getLogger(__name__)

MAX_ID_CHARS: Final = 256
MAX_TRACEPARENT_CHARS: Final = 128


class Workshop:
    """Makes jobs of commands, for one agent."""

    def __init__(
        self,
        identity: Identity,
        actions: dict[str, Action],
        work: Path,
        processes: Processes,
    ) -> None:
        self.identity = identity
        self._actions = actions
        self._work = work
        self._processes = processes

    def prepare(self, command: Command, traceparent: str) -> Job | Outcome:
        """A job that could start at once, or why there is none (`rejected`: it never started)."""
        action = self._actions.get(command.action)
        if action is None:
            return rejected("action_unknown", f"this agent has no action '{command.action}'")
        if command.dry_run:
            return rejected("dry_run_unsupported", "this agent cannot tell what an action would do")
        body = action.body_for(command.kind)
        try:
            arguments = body.check(command.args)
            idempotent = command.idempotent or action.is_idempotent(arguments)
        except BadArguments as error:
            return Outcome(ResultStatus.REJECTED, None, failure(error)[0])
        except Exception as error:  # noqa: BLE001 - a type of the action's author may raise whatever it likes
            return rejected("bad_arguments", f"{type(error).__name__}: {error}")
        context = Context(
            command, self.identity.agent, work=self._work, processes=self._processes, traceparent=traceparent
        )
        return Job(command, body, arguments, context, idempotent=idempotent)


def rejected(code: str, message: str, *, retryable: bool = False) -> Outcome:
    """The outcome of a command that this agent will not start."""
    return Outcome(ResultStatus.REJECTED, None, error_info(code, message, retryable=retryable))


class Taken(NamedTuple):
    """A message that gets a row in the journal, and what follows then: a job to run, or a result to send."""

    command: Command
    entry: Entry
    job: Job | None


@dataclass(slots=True)
class Intake:
    """One batch of deliveries, sorted by what is to be done. `jobs` are those that the agent has in hand."""

    workshop: Workshop
    jobs: MutableMapping[str, Job]
    now: datetime
    at: Micros = field(init=False)
    taken: list[Taken] = field(default_factory=list)
    accepted: list[Delivery] = field(default_factory=list)
    """To be acknowledged once the batch is written."""
    refused: list[tuple[Delivery, str]] = field(default_factory=list)
    """To be dead-lettered, each with its reason."""
    cancels: list[Job] = field(default_factory=list)
    """Jobs to be stopped."""
    notes: list[tuple[Job, ResultStatus]] = field(default_factory=list)
    """What a query or a repeated command gets to hear about a job in hand."""

    def __post_init__(self) -> None:
        """Have the time as the journal keeps it."""
        self.at = from_datetime(self.now)

    def add(self, delivery: Delivery) -> None:
        """Sort one delivery."""
        try:
            command = decode(delivery.body, Command)
            about = _about(command)
            if about is None:
                self._command(command, delivery)
            else:
                self._question(command, about)
        except Malformed as error:
            self.refused.append((delivery, f"{error.code}: {error.message}"))
        except Exception as error:  # a fault of ours must cost one message, not the agent
            log.exception("a command could not be taken")
            self.refused.append((delivery, f"internal: {type(error).__name__}"))
        else:
            self.accepted.append(delivery)

    def _command(self, command: Command, delivery: Delivery) -> None:
        job = self.jobs.get(command.id)
        if job is not None:
            if job.announced:
                self.notes.append((job, ResultStatus.STARTED))
            return
        traceparent = _traceparent(delivery)
        made = self._made(command, traceparent, elsewhere=_perhaps_elsewhere(delivery))
        if isinstance(made, Job):
            self.jobs[command.id] = made
            self._take(command, command.id, made, delivery.body, traceparent=traceparent)
        else:
            outcome = made._replace(finished_at=self.now)
            self._take(command, command.id, None, answer(self.workshop.identity, command, outcome))

    def _made(self, command: Command, traceparent: str, *, elsewhere: bool) -> Job | Outcome:
        """A job, or the answer to a command that will not be run.

        `elsewhere`: another agent of the pool may have it. To run it here too is harmless only if it is
        idempotent, and to call it expired would deny an effect that it may have there.
        """
        late = (self.now - command.expires_at).total_seconds()
        if late > 0:
            return (
                _UNKNOWN
                if elsewhere
                else rejected("expired", f"it came {late:.1f} s too late", retryable=True)
            )
        made = self.workshop.prepare(command, traceparent)
        return _UNKNOWN if elsewhere and isinstance(made, Job) and not made.idempotent else made

    def _question(self, command: Command, about: str) -> None:
        """A query or a cancel. What was never seen becomes a tombstone: should it come, it will not start."""
        job = self.jobs.get(about)
        if job is None:
            never = Outcome(ResultStatus.NEVER_SEEN, finished_at=self.now)
            body = answer(self.workshop.identity, command, never, about=about)
            self._take(command, about, None, body, tombstone=True)
        elif command.kind is CommandKind.CANCEL:
            self.cancels.append(job)
        elif not job.ended:
            running = job.started_at is not None
            self.notes.append((job, ResultStatus.STARTED if running else ResultStatus.PROGRESS))

    def _take(
        self,
        command: Command,
        about: str,
        job: Job | None,
        body: bytes,
        *,
        traceparent: str = "",
        tombstone: bool = False,
    ) -> None:
        """Plan a row: of the command's own `body` when there is a job, else of its result's."""
        at = self.at
        if job is not None:
            entry = Entry(about, "received", False, body, traceparent, command.reply_to, at)
        else:
            entry = Entry(about, "finished", tombstone, None, traceparent, command.reply_to, at, body)
        self.taken.append(Taken(command, entry, job))


_UNKNOWN: Final = Outcome(
    ResultStatus.UNKNOWN,
    None,
    error_info("taken_elsewhere", "another agent of the pool may have taken it, and it is not idempotent"),
)


def _perhaps_elsewhere(delivery: Delivery) -> bool:
    """Whether another member of a pool may have seen this command: it was delivered or published before."""
    again = delivery.redelivered or AGAIN_HEADER in delivery.headers
    return again and delivery.routing_key.startswith(Topology.pool_key(""))


def _about(command: Command) -> str | None:
    """The command that a query or cancel asks about; None for a command that is to be run."""
    if command.kind in (CommandKind.EXECUTE, CommandKind.COMPENSATE):
        return None
    about: Any = command.args.get("command_id")
    if not isinstance(about, str) or not 0 < len(about) <= MAX_ID_CHARS:
        raise Malformed(f"a {command.kind} without args.command_id")
    return about


def _traceparent(delivery: Delivery) -> str:
    """The command's trace context; anything but a short text is passed over."""
    value = delivery.headers.get("traceparent", "")
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value if isinstance(value, str) and len(value) <= MAX_TRACEPARENT_CHARS else ""
