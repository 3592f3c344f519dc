"""Simulated agents: they answer commands as the script says, with a journal as real ones have (rule 7).

An agent that was asked about a command, or told to stop one, that it has never seen remembers that: should
the command still come, it is answered `cancelled` and never started.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from orchestrator.scenario.clock import Clock
from orchestrator.scenario.naming import CommandName
from orchestrator.scenario.script import Script
from schemas.messages import Command, CommandKind, ErrorInfo, Presence, Result, ResultStatus
from schemas.scenario import AgentSpec, Outcome
from schemas.times import Micros, parse_duration, to_datetime

__all__ = ["Agents", "Broker", "Parcel", "micros"]

_STATUS_OF_CANCEL: Final = {
    "stop": ResultStatus.CANCELLED,
    "finish": ResultStatus.SUCCEEDED,
    "fail": ResultStatus.FAILED,
}


class Broker(Protocol):
    """Where agents send to."""

    def say(self, result: Result) -> None:
        """A result arrives at the coordinator."""

    def announce(self, presence: Presence) -> None:
        """An announcement arrives at the coordinator."""

    def returned(self, command: Command) -> None:
        """No queue takes the command."""

    def expired(self, command: Command) -> None:
        """The command lay in its queue for too long; no agent had it."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A command under way, its full name, every name of its run, and its routing key."""

    command: Command
    name: CommandName
    runs: tuple[str, ...]
    routing_key: str


@dataclass(slots=True)
class _Entry:
    """What an agent's journal has on a command. `result` is its end; a tombstone has no start."""

    agent: str
    command: Command
    outcome: Outcome
    started_at: Micros | None = None
    result: Result | None = None
    lost: bool = False
    killed: bool = False
    """Its agent went down in the middle."""
    queries: int = 0


class Agents:
    """All agents of a scenario."""

    def __init__(
        self, clock: Clock, script: Script, broker: Broker, declared: Mapping[str, AgentSpec] | None
    ) -> None:
        self._clock = clock
        self._script = script
        self._broker = broker
        self._declared = declared
        self._specs: dict[str, AgentSpec] = dict(declared or {})
        self._journal: dict[tuple[str, str], _Entry] = {}
        self._unreachable: set[str] = set()
        """Commands that nobody takes from their queue, nor what comes behind them."""
        self._instances: dict[str, int] = {}
        self._down: dict[str, list[Callable[[], None]]] = {}
        """Agents that are down, with what they do first when they are up again."""

    def announce_all(self) -> None:
        """Every agent that is up says that it is there."""
        for name in self._specs:
            if name not in self._down:
                self._announce(name)

    def _announce(self, name: str) -> None:
        spec = self._specs[name]
        self._broker.announce(
            Presence(
                name=name,
                instance_id=self._instance(name),
                version="0",
                at=to_datetime(self._clock.now()),
                pools=list(spec.pools),
                labels=dict(spec.labels),
            )
        )

    def _instance(self, name: str) -> str:
        return f"{name}-{self._instances.get(name, 1)}"

    # trouble

    def trouble(self, name: str, to: str) -> None:
        """An agent goes `down`, comes `up`, or comes back `rebuilt`: without its journal, a new instance."""
        if to == "down":
            self._down.setdefault(name, [])
            for entry in self._of(name):
                entry.killed = entry.result is None
            return
        if to == "rebuilt":
            self._instances[name] = self._instances.get(name, 1) + 1
            self._journal = {key: entry for key, entry in self._journal.items() if key[0] != name}
        self._specs.setdefault(name, AgentSpec())
        waiting = self._down.pop(name, [])
        self._announce(name)
        for entry in self._of(name):
            if entry.killed:
                entry.killed = False
                (self._begin if entry.started_at is None else self._lose)(entry)
        for begin in waiting:
            begin()

    def _of(self, name: str) -> list[_Entry]:
        """What an agent's journal has."""
        return [entry for (agent, _), entry in self._journal.items() if agent == name]

    # commands

    def deliver(self, parcel: Parcel) -> None:
        """A command arrives at its queue, if there is one."""
        command = parcel.command
        kind, _, target = parcel.routing_key.partition(".")
        if command.kind in (CommandKind.QUERY, CommandKind.CANCEL):
            self._ask(parcel, target)
            return
        members = self._members(kind, target)
        outcome = self._script.outcome(parcel.name, agents=(target, *members), runs=parcel.runs)
        if outcome.do == "no_queue" or not members:
            self._clock.after(0, lambda: self._broker.returned(command))
            return
        agent = outcome.by if outcome.by in members else members[0]
        if agent != target and agent not in self._specs:
            self._specs[agent] = AgentSpec(pools=[target])
            self._announce(agent)
        wait = micros(outcome.waits)
        if outcome.do == "never_taken" or wait > self._expiry(command):
            self._unreachable.add(command.id)
            self._clock.after(self._expiry(command), lambda: self._broker.expired(command))
        elif outcome.do != "dropped":
            self._reach(agent, command, lambda: self._take(agent, command, outcome))

    def _members(self, kind: str, target: str) -> tuple[str, ...]:
        """Who may take a command for this agent or pool."""
        if kind == "agent":
            there = self._declared is None or target in self._specs
            return (target,) if there else ()
        members = tuple(name for name, spec in self._specs.items() if target in spec.pools)
        return members or (() if self._declared is not None else (f"{target}-1",))

    def _reach(self, agent: str, command: Command, begin: Callable[[], None]) -> None:
        """Let an agent begin, now or when it is up again; until then the command lies in its queue."""
        waiting = self._down.get(agent)
        if waiting is None:
            begin()
            return
        gone = False

        def expire() -> None:
            nonlocal gone
            if agent in self._down and begin_later in self._down[agent]:
                gone = True
                self._down[agent].remove(begin_later)
                self._broker.expired(command)

        def begin_later() -> None:
            if not gone:
                begin()

        waiting.append(begin_later)
        self._clock.after(self._expiry(command), expire)

    def _expiry(self, command: Command) -> Micros:
        """How long from now until the command expires."""
        left = command.expires_at - to_datetime(self._clock.now())
        return max(0, int(left.total_seconds() * 1_000_000))

    def _take(self, agent: str, command: Command, outcome: Outcome) -> None:
        """An agent has the command: it runs it, unless it was told before that it must not."""
        known = self._journal.get((agent, command.id))
        if known is not None:
            self._end(known, ResultStatus.CANCELLED, about=command)
            return
        entry = _Entry(agent, command, outcome)
        self._journal[agent, command.id] = entry
        if outcome.waits is None:
            self._begin(entry)
        else:
            self._clock.after(micros(outcome.waits), lambda: self._begin(entry))

    def _begin(self, entry: _Entry) -> None:
        """It is the command's turn."""
        outcome = entry.outcome
        if entry.result is not None or entry.killed:
            return
        if outcome.do == "reject":
            self._end(entry, ResultStatus.REJECTED)
            return
        entry.started_at = self._clock.now()
        slow = outcome.takes is not None or outcome.do in ("hang", "lost", "silent")
        if slow and not outcome.quiet and not outcome.reorder:
            self._tell(entry, ResultStatus.STARTED)
        self._plan_end(entry)

    def _plan_end(self, entry: _Entry) -> None:
        outcome, limit = entry.outcome, int(entry.command.timeout * 1_000_000)
        takes = micros(outcome.takes)
        if outcome.do == "silent":
            return
        if outcome.do == "lost":
            self._clock.after(takes, lambda: self._lose(entry))
        elif outcome.do == "hang" or takes > limit:
            self._clock.after(limit, lambda: self._end(entry, ResultStatus.TIMED_OUT))
        else:
            status = ResultStatus.FAILED if outcome.do == "fail" else ResultStatus.SUCCEEDED
            self._clock.after(takes, lambda: self._end(entry, status))

    def _lose(self, entry: _Entry) -> None:
        """The agent restarts: the action is gone, and only a probe can tell what it did."""
        if entry.result is not None or entry.killed:
            return
        entry.lost = entry.outcome.probe in (None, "unknown")
        found = {"succeeded": ResultStatus.SUCCEEDED, "never_seen": ResultStatus.NEVER_SEEN}
        self._end(entry, found.get(entry.outcome.probe or "", ResultStatus.UNKNOWN))

    # questions

    def _ask(self, parcel: Parcel, agent: str) -> None:
        """A query or a cancel: it waits behind the command it is about."""
        command = parcel.command
        about = str(command.args.get("command_id", ""))
        if about in self._unreachable:
            self._clock.after(self._expiry(command), lambda: self._broker.expired(command))
            return
        asked = self._asked if command.kind is CommandKind.QUERY else self._cancelled
        self._reach(agent, command, lambda: asked(agent, about, command))

    def _asked(self, agent: str, about: str, command: Command) -> None:
        entry = self._known(agent, about, command)
        if entry is None:
            return
        entry.queries += 1
        answer = _answer(entry)
        if answer == "finished" and (entry.result is None or entry.lost):
            entry.result, entry.lost = None, False
            self._end(entry, ResultStatus.SUCCEEDED)
        elif answer == "finished" and entry.result is not None:
            self._send(entry.result, replace(entry.outcome, late=None))
        elif answer == "running":
            begun = entry.started_at is not None
            self._tell(entry, ResultStatus.STARTED if begun else ResultStatus.PROGRESS)
        elif answer in ("never_seen", "unknown"):
            self._tell(entry, ResultStatus(answer))

    def _cancelled(self, agent: str, about: str, command: Command) -> None:
        entry = self._known(agent, about, command)
        if entry is None:
            return
        answer = entry.outcome.on_cancel
        if entry.result is not None:
            self._send(entry.result, replace(entry.outcome, late=None))
        elif answer in _STATUS_OF_CANCEL and entry.outcome.do != "silent":
            self._end(entry, _STATUS_OF_CANCEL[answer])

    def _known(self, agent: str, about: str, command: Command) -> _Entry | None:
        """What the journal has; None once `never_seen` was said because it has nothing."""
        entry = self._journal.get((agent, about))
        if entry is not None:
            return entry
        outcome = Outcome(do="succeed")
        entry = _Entry(agent, command, outcome)
        self._journal[agent, about] = entry
        self._end(entry, ResultStatus.NEVER_SEEN, command_id=about)
        return None

    # answers

    def _tell(self, entry: _Entry, status: ResultStatus) -> None:
        """Say how things stand."""
        self._broker.say(self._result(entry, status, entry.command.id))

    def _end(
        self, entry: _Entry, status: ResultStatus, *, command_id: str = "", about: Command | None = None
    ) -> None:
        """Say how it ended, unless it has ended before; `about` asks for an answer all the same."""
        if (entry.result is not None and about is None) or entry.killed:
            return
        result = self._result(entry, status, command_id or (about or entry.command).id)
        entry.result = entry.result or result
        self._send(result, entry.outcome)

    def _send(self, result: Result, outcome: Outcome) -> None:
        late = micros(outcome.late)
        self._clock.after(late, lambda: self._broker.say(result))
        if outcome.reorder:
            started = replace(result, status=ResultStatus.STARTED, output=None, error=None, finished_at=None)
            self._clock.after(late, lambda: self._broker.say(started))
        if outcome.again is not None:
            self._clock.after(late + micros(outcome.again), lambda: self._broker.say(result))

    def _result(self, entry: _Entry, status: ResultStatus, command_id: str) -> Result:
        command, outcome = entry.command, entry.outcome
        now = self._clock.now()
        return Result(
            command_id=command_id,
            run_id=command.run_id,
            step=command.step,
            host_index=command.host_index,
            attempt=command.attempt,
            epoch=command.epoch,
            agent=outcome.poses_as or entry.agent,
            instance_id=self._instance(entry.agent),
            status=status,
            output=outcome.output if status is ResultStatus.SUCCEEDED else None,
            error=_error(outcome, status),
            started_at=None if entry.started_at is None else to_datetime(entry.started_at),
            finished_at=to_datetime(now) if status.is_final else None,
        )


def _answer(entry: _Entry) -> str:
    """What an agent says when it is asked about a command that it has seen."""
    scripted = entry.outcome.on_query
    if isinstance(scripted, list) and scripted:
        return scripted[min(entry.queries, len(scripted)) - 1]
    if isinstance(scripted, str):
        return scripted
    if entry.outcome.do == "silent":
        return "silent"
    if entry.lost:
        return "unknown"
    if entry.result is None:
        return "running"
    return "finished"


def _error(outcome: Outcome, status: ResultStatus) -> ErrorInfo | None:
    """The error that belongs to a status, with what the script says of it."""
    if status in (ResultStatus.FAILED, ResultStatus.REJECTED):
        default = "rejected" if status is ResultStatus.REJECTED else "failed"
        retryable = outcome.retryable and status is not ResultStatus.REJECTED
        return ErrorInfo(
            outcome.code or default, outcome.message or "as the scenario says", retryable=retryable
        )
    if status is ResultStatus.TIMED_OUT:
        return ErrorInfo("timed_out", "it ran into its time limit")
    if status is ResultStatus.UNKNOWN:
        return ErrorInfo("lost", "the agent was stopped while it ran")
    return None


def micros(duration: str | None) -> Micros:
    """A duration in microseconds; none is no time."""
    return 0 if duration is None else parse_duration(duration)
