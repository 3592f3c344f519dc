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
from agents.probes import Lost
from agents.processes import Processes
from agents.redaction import Redactor
from agents.sdk import Action, BadArguments
from agents.secrets import NoSecret, Secrets
from runtime.bus.port import Delivery
from schemas.codec import Malformed, decode
from schemas.errors import InvalidInput
from schemas.messages import Command, CommandKind, ResultStatus
from schemas.names import AGAIN_HEADER, Topology
from schemas.times import Micros, from_datetime, from_rfc3339, to_datetime

__all__ = ["Intake", "Taken", "Workshop", "is_question", "lacks_secret", "rejected"]

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
        secrets: Secrets,
    ) -> None:
        self.identity = identity
        self._actions = actions
        self._work = work
        self._processes = processes
        self._secrets = secrets

    def prepare(self, command: Command, traceparent: str) -> Job | Outcome:
        """A job that could start at once, or why there is none (`rejected`: it never started)."""
        action = self._actions.get(command.action)
        if action is None:
            return rejected("action_unknown", f"this agent has no action '{command.action}'")
        if command.dry_run:
            return rejected("dry_run_unsupported", "this agent cannot tell what an action would do")
        body = action.body_for(command.kind)
        try:
            args, redactor = self._secrets.resolve(command)
        except InvalidInput as error:
            return rejected(error.code, f"{error.message} ({error.hint})")
        try:
            arguments = body.check(args)
            idempotent = command.idempotent or action.is_idempotent(arguments, command.kind)
        except BadArguments as error:
            return Outcome(ResultStatus.REJECTED, None, failure(error, redactor)[0])
        except Exception as error:  # noqa: BLE001 - a type of the action's author may raise whatever it likes
            return rejected("bad_arguments", redactor.text(f"{type(error).__name__}: {error}"))
        context = self._context(command, traceparent, redactor)
        return Job(command, body, arguments, context, idempotent=idempotent)

    def may_have_begun(self, command: Command) -> bool:
        """Whether it may have been started without a record of that: not so unless it is idempotent."""
        action = self._actions.get(command.action)
        return command.idempotent or (action is not None and action.idempotent is not False)

    def lost(self, command: Command, traceparent: str, started_at: Micros) -> Lost | None:
        """A lost command whose probe can be asked; None where there is none, or not for its arguments."""
        action = self._actions.get(command.action)
        probe = action.probe_for(command.kind) if action is not None else None
        if action is None or probe is None:
            return None
        try:
            args, redactor = self._secrets.resolve(command)
            arguments = action.body.check(args)
        except Exception as error:  # noqa: BLE001 - as in `prepare`; it fitted once, the action has changed
            log.warning("the probe of %s cannot be asked: %s", command.action, type(error).__name__)
            return None
        context = self._context(command, traceparent, redactor)
        return Lost(command, to_datetime(started_at), probe, arguments, context)

    def _context(self, command: Command, traceparent: str, redactor: Redactor) -> Context:
        return Context(
            command,
            self.identity.agent,
            work=self._work,
            processes=self._processes,
            traceparent=traceparent,
            redactor=redactor,
        )


def lacks_secret(made: "Job | Outcome") -> bool:
    """Whether a command cannot be run only for want of a secret, which may have been there before."""
    return isinstance(made, Outcome) and made.error is not None and made.error.code == NoSecret.code


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
    """One batch of deliveries, sorted by what is to be done. `jobs` are those that the agent has in hand.

    `forgotten`: of commands issued until then the journal no longer has all.
    """

    workshop: Workshop
    jobs: MutableMapping[str, Job]
    now: datetime
    forgotten: Micros
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
        made = self._made(command, traceparent, self._doubt(command, delivery))
        if isinstance(made, Job):
            self.jobs[command.id] = made
            self._take(command, command.id, made, delivery.body, traceparent=traceparent)
        else:
            outcome = made._replace(finished_at=self.now)
            self._take(command, command.id, None, answer(self.workshop.identity, command, outcome))

    def _made(self, command: Command, traceparent: str, doubt: Outcome | None) -> Job | Outcome:
        """A job, or the answer to a command that will not be run.

        `doubt`: it may have been run before. To run it again is harmless only if it is idempotent, and to
        call it expired would deny an effect that it may have had.
        """
        late = (self.now - command.expires_at).total_seconds()
        if late > 0:
            return doubt or rejected("expired", f"it came {late:.1f} s too late", retryable=True)
        made = self.workshop.prepare(command, traceparent)
        if doubt and lacks_secret(made):  # who may have run it had the secret
            return doubt
        return doubt if doubt and isinstance(made, Job) and not made.idempotent else made

    def _doubt(self, command: Command, delivery: Delivery) -> Outcome | None:
        """Why a command that is not in the journal may have been run, where that cannot be told."""
        if not delivery.redelivered and AGAIN_HEADER not in delivery.headers:
            return None
        if delivery.routing_key.startswith(Topology.pool_key("")):
            return _ELSEWHERE
        return _FORGOTTEN if from_datetime(command.issued_at) <= self.forgotten else None

    def _question(self, command: Command, about: str) -> None:
        """A query or a cancel. What was never seen becomes a tombstone: should it come, it will not start."""
        job = self.jobs.get(about)
        if job is None:
            issued_at = _issued_at(command)
            forgotten = self.forgotten > 0 and (issued_at is None or issued_at <= self.forgotten)
            outcome = (_FORGOTTEN if forgotten else _NEVER_SEEN)._replace(finished_at=self.now)
            body = answer(self.workshop.identity, command, outcome, about=about)
            self._take(command, about, None, body, issued_at=issued_at, tombstone=not forgotten)
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
        issued_at: Micros | None = None,
        tombstone: bool = False,
    ) -> None:
        """Plan a row: of the command's own `body` when there is a job, else of its result's."""
        common = (traceparent, command.reply_to, self.at, issued_at or from_datetime(command.issued_at))
        if job is not None:
            entry = Entry(about, "received", False, body, *common)
        else:
            entry = Entry(about, "finished", tombstone, None, *common, body)
        self.taken.append(Taken(command, entry, job))


def _unknown(code: str, message: str) -> Outcome:
    return Outcome(ResultStatus.UNKNOWN, None, error_info(code, message))


_NEVER_SEEN: Final = Outcome(ResultStatus.NEVER_SEEN)
_ELSEWHERE: Final = _unknown(
    "taken_elsewhere", "another agent of the pool may have taken it, and it is not idempotent"
)
_FORGOTTEN: Final = _unknown(
    "forgotten", "it is not in the agent's journal, from which commands as old as it have been removed"
)


def is_question(delivery: Delivery) -> bool:
    """Whether it asks about another command, or cannot be read: it takes no room in the backlog."""
    try:
        return _about(decode(delivery.body, Command)) is not None
    except Malformed:
        return True


def _issued_at(question: Command) -> Micros | None:
    """When the command that a question is about was issued, if it says so."""
    text = question.args.get("issued_at")
    try:
        return from_rfc3339(text) if isinstance(text, str) else None
    except InvalidInput:
        return None


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
