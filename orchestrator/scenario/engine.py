"""Plays one scenario: the coordinator's own code decides, agents are simulated, time is virtual.

What happens is handled one thing after another, each as a batch of its own: decided, committed to memory, and
only then sent out.
"""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.core.definition import Definition
from orchestrator.core.model import Run, RunHead
from orchestrator.loop.intake import (
    ApplyDefinition,
    CommandExpiredOnBus,
    Content,
    EventReceived,
    OutboxDone,
    PresenceReceived,
    ResultArrived,
)
from orchestrator.scenario.agents import Agents, Parcel
from orchestrator.scenario.clock import Clock
from orchestrator.scenario.desk import Decided, Desk
from orchestrator.scenario.log import Change, Entry, Log, SentCommand
from orchestrator.scenario.memory import Memory
from orchestrator.scenario.names import RunNames, name_of
from orchestrator.scenario.script import Script
from orchestrator.settings import Settings
from orchestrator.store.port import OutboxMessage
from schemas.codec import decode, encode
from schemas.errors import Unreachable
from schemas.events import Event, read_event
from schemas.messages import Command, CommandKind, Presence, Result
from schemas.names import Topology
from schemas.scenario import AgentSpec
from schemas.times import Micros

__all__ = ["Engine"]

_MAX_HANDLED: Final = 50_000
_PRESENCE_EVERY: Final[Micros] = 30_000_000


class Engine:
    """One scenario under way."""

    def __init__(
        self, settings: Settings, clock: Clock, script: Script, declared: dict[str, AgentSpec] | None
    ) -> None:
        self.clock = clock
        self.log = Log()
        self.watch: Callable[[SentCommand | Change], None] = lambda _: None
        """Is told of every command sent and every change of a status."""
        self.memory = Memory()
        self.names = RunNames(self._fans_out)
        self._settings = settings
        self._topology = Topology()
        self._desk = self._begin()
        self._held: list[Callable[[], None]] | None = None
        """While the coordinator is down: what arrives, and waits on the broker."""
        self.agents = Agents(clock, script, self, declared)
        self._announced_at: Micros = 0

    def _begin(self) -> Desk:
        return Desk(self._settings, self._topology, self.clock, self.memory, self._committed)

    def _fans_out(self, head: RunHead, step: str) -> bool:
        return self._desk.definitions.of(head.version).steps[step].fans_out

    # what can happen

    def stop(self) -> None:
        """The coordinator is down. What arrives waits; what is due passes."""
        self._desk.closed = True
        self._held = [] if self._held is None else self._held

    def restart(self) -> None:
        """The coordinator is up again, with a new epoch."""
        if self._held is None:
            return
        held, self._held = self._held, None
        self.memory.epoch += 1
        self._desk = self._begin()
        for happen in held:
            self.clock.after(0, happen)

    def _waits(self, happen: Callable[[], None]) -> bool:
        """Whether something has to wait for the coordinator."""
        if self._held is not None:
            self._held.append(happen)
        return self._held is not None

    def apply(self, definition: Definition) -> None:
        """A workflow document is applied."""
        self.handle(ApplyDefinition(definition))

    def current(self, run_id: str) -> Definition:
        """What new runs of this run's workflow take."""
        return self._desk.definitions.current[self.memory.runs[run_id].head.workflow]

    def event(self, event: Event) -> None:
        """A business event arrives."""
        if self._waits(lambda: self.event(event)):
            return
        record = self.handle(EventReceived(event))
        self.log.inbox.append(record.outcome)
        self.note("event", "", f"{event.type} {event.id}: {record.outcome}")

    def say(self, result: Result) -> None:
        """A result arrives."""
        if self._waits(lambda: self.say(result)):
            return
        run = self.memory.runs.get(result.run_id)
        name = self.names.of(result.run_id)
        index = f"[{result.host_index}]" if result.host_index else ""
        error = f" {result.error.code}" if result.error is not None else ""
        undo = "undo " if result.command_id.endswith(f"/{CommandKind.COMPENSATE}") else ""
        text = f"{undo}{result.step}{index} {result.status}{error}, says {result.agent}"
        ignored = 0 if run is None else run.ignored
        self.log.handled += 1
        self.log.answer(result.command_id, final=result.status.is_final)
        place = len(self.log.entries)
        self.handle(ResultArrived(result, len(encode(result))))
        now = self.memory.runs.get(result.run_id)
        if now is None or now.ignored > ignored:
            text += " (ignored)"
        self.log.entries.insert(place, Entry(self.clock.elapsed, "result", name, text))

    def announce(self, presence: Presence) -> None:
        """An agent announces itself."""
        if self._waits(lambda: self.announce(presence)):
            return
        self.handle(PresenceReceived(presence))

    def returned(self, command: Command) -> None:
        """No queue takes a command."""
        if self._waits(lambda: self.returned(command)):
            return
        self.note("note", self.names.of(command.run_id), f"{command.step}: no queue takes the command")
        self.handle(OutboxDone(sent=[], returned=[command]))

    def expired(self, command: Command) -> None:
        """A command lay in its queue for too long."""
        if self._waits(lambda: self.expired(command)):
            return
        self.note(
            "note", self.names.of(command.run_id), f"{command.step}: the command expired, nobody took it"
        )
        self.log.handled += 1
        self.log.answer(command.id, final=True)
        self.handle(CommandExpiredOnBus(command))

    # time

    def play(self, until: Micros) -> bool:
        """Let everything happen up to `until` (since the beginning); False if it never comes to rest."""
        limit = self.clock.beginning + until
        for _ in range(_MAX_HANDLED):
            events, timers = self.clock.next_at(), None if self._held is not None else self._desk.next_at()
            at = min((at for at in (events, timers) if at is not None), default=None)
            if at is None or at > limit:
                return True
            self.clock.advance(at)
            self._announce()
            if at == events:
                self.clock.happen()
            else:
                self._desk.wake(at)
        return False

    def _announce(self) -> None:
        """The agents that are up announce themselves now and then."""
        if self.clock.now() >= self._announced_at + _PRESENCE_EVERY:
            self._announced_at = self.clock.now()
            self.agents.announce_all()

    # one thing

    def handle(self, content: Content) -> Any:
        """Let `content` happen; returns what its sender is answered, or raises it."""
        if self._held is not None:
            raise Unreachable("the coordinator is down", code="unreachable")
        self.log.handled += 1
        return self._desk.handle(content)

    def _committed(self, decided: Decided) -> None:
        """What was decided is so: it is noted, and sent."""
        for run in decided.batch.started:
            self.names.add(run.head)
        for run_id, run in decided.batch.changed.items():
            self._note_changes(decided.before[run_id], run)
        for message in decided.batch.outbox:
            self._send(message)

    def _send(self, message: OutboxMessage) -> None:
        if message.exchange == self._topology.commands:
            self._command(decode(message.body, Command), message.routing_key)
        elif message.exchange == self._topology.events:
            event = read_event(message.body, message.content_type, message.headers)
            self.log.emitted.append((self.clock.elapsed, event))
            self.note("emit", "", event.type)
            self.clock.after(0, lambda: self.event(event))

    def _command(self, command: Command, routing_key: str) -> None:
        target = routing_key.partition(".")[2]
        name = name_of(command)
        runs = self.names.all_of(command.run_id)
        sent = SentCommand(self.clock.elapsed, self.log.handled, name, (target,), runs, command)
        self.log.commands.append(sent)
        self.note("command", runs[0], sent.text(with_run=False))
        self.watch(sent)
        self.agents.deliver(Parcel(command, name, runs, routing_key))

    # what is noted

    def note(self, kind: str, run: str, text: str) -> None:
        """A line of the timeline."""
        self.log.entries.append(Entry(self.clock.elapsed, kind, run, text))

    def _note_changes(self, before: Run | None, run: Run) -> None:
        runs = self.names.all_of(run.head.id)
        if before is None:
            key = f" key {run.head.key}" if run.head.key else ""
            self.note("start", runs[0], f"{run.head.workflow}{key}")
        for step, tasks in run.steps.items():
            old = () if before is None else before.steps.get(step, ())
            for index, task in enumerate(tasks):
                if index < len(old) and old[index].status is task.status:
                    continue
                if index >= len(old) and task.status == "pending":
                    continue
                self.note("step", runs[0], f"{step}{f'[{index}]' if len(tasks) > 1 else ''} {task.status}")
                self.watch(Change(runs, step, index, str(task.status)))
        if before is None or before.status is not run.status:
            reason = f": {run.reason}" if run.reason else ""
            self.note("run", runs[0], f"{run.status}{reason}")
            self.watch(Change(runs, "", 0, str(run.status)))
