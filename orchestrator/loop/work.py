"""One batch in the making: what was loaded for it, what it changes, and what it answers.

Nothing here waits: messages are read and rows are loaded before (`loading.py`), and what is decided here is
written in one transaction after.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from typing import Any

from msgspec.structs import replace

from orchestrator.core import machine
from orchestrator.core.definition import Definition
from orchestrator.core.facts import TaskWaiting
from orchestrator.core.inputs import ChildEnded, Env, Input, Move, MoveRun, Signal, StartChild
from orchestrator.core.model import Run, RunHead, Task, TraceContext, WaitOn
from orchestrator.core.registry import Registry
from orchestrator.definitions import Definitions, put_definition, stored_definition
from orchestrator.loop.intake import LookForEvent
from orchestrator.loop.outgoing import Outgoing
from orchestrator.settings import Settings, limits_of
from orchestrator.starting.children import cannot_start, child_head, not_started
from orchestrator.starting.groups import GroupBusy, GroupDeadlock, group_of
from orchestrator.starting.later import StartingInBatch
from orchestrator.starting.pacing import LoadedPace
from orchestrator.store.port import (
    AgentRecord,
    Batch,
    InboxRecord,
    KeptEvent,
    Place,
    StoredSignal,
    TaskKey,
    WaitingTask,
)
from orchestrator.world import World
from schemas.errors import InvalidInput
from schemas.events import Event, event_scope, hops_of, parse_traceparent
from schemas.messages import Presence
from schemas.names import Topology
from schemas.times import Micros

__all__ = ["Loaded", "Work"]


@dataclass(slots=True)
class Loaded:
    """What the store knows about the items of a batch."""

    runs: dict[str, Run] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    retries: dict[str, str] = field(default_factory=dict)
    """By ended run the live one that goes on from it."""
    events: dict[tuple[str, str], InboxRecord] = field(default_factory=dict)
    waiting: dict[Place, list[WaitingTask]] = field(default_factory=dict)
    """Who waits where the events of this batch are filed."""
    kept: dict[TaskKey, list[KeptEvent]] = field(default_factory=dict)
    """What came before that a task may wait for."""
    pace: LoadedPace = field(default_factory=LoadedPace)
    registry: Registry = field(default_factory=Registry)
    starting: StartingInBatch = field(default_factory=StartingInBatch)
    check_room: Callable[[int], None] = lambda _: None
    """Raises when there is no room for a run more, besides so many of this batch."""

    def copy(self, registry: Registry, starting: StartingInBatch) -> "Loaded":
        """For a batch, which notes on top what it changes; what it only reads is shared."""
        return replace_fields(
            self,
            runs=dict(self.runs),
            keys=dict(self.keys),
            retries=dict(self.retries),
            events=dict(self.events),
            registry=registry,
            starting=starting,
        )


class Work:
    """Decides items one after another on top of what was loaded, and collects what must be written."""

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        world: World,
        epoch: int,
        next_outbox_id: Callable[[], int],
        definitions: Definitions,
        loaded: Loaded,
    ) -> None:
        self.starting = loaded.starting
        self.batch = Batch(keep_at_most=settings.max_kept_events, starting=self.starting.changes)
        self.runs = loaded.runs
        self.events = loaded.events
        self.loaded = loaded
        self.applied: list[Definition] = []
        self._settled: dict[tuple[str, str], InboxRecord] = {}
        self.look_ups: list[LookForEvent] = []
        """To be made once this batch is committed."""
        self.settings = settings
        self.definitions = definitions
        self._world = world
        self._epoch = epoch
        self._registry = loaded.registry
        self._limits = limits_of(settings)
        self._outgoing = Outgoing(topology, next_outbox_id, settings.lifecycle, self.batch.outbox)

    @property
    def now(self) -> Micros:
        """The time."""
        return self._world.now()

    # what happens to runs

    def start_run(
        self,
        definition: Definition,
        key: str,
        value: Any,
        event: Event | None = None,
        traceparent: str = "",
    ) -> str:
        """Start a run and return its id. The caller has made sure that `key` is free and the input fits."""
        head = RunHead(
            id=self._world.run_id(),
            workflow=definition.name,
            version=definition.version,
            key=key,
            created_at=self.now,
            trace=self._trace(traceparent),
            shard=self.settings.shard,
            input=value,
            event=None if event is None else event_scope(event),
            priority=definition.priority,
            hops=0 if event is None else hops_of(event),
        )
        return self.begin(definition, head)

    def retry_run(self, run: Run, definition: Definition, kept: Mapping[str, tuple[Task, ...]]) -> str:
        """Start a run that goes on from the results of one that has ended; returns its id."""
        head = RunHead(
            id=self._world.run_id(),
            workflow=definition.name,
            version=definition.version,
            key=run.head.key,
            created_at=self.now,
            trace=self._trace(""),
            shard=self.settings.shard,
            input=run.head.input,
            event=run.head.event,
            priority=definition.priority,
            retry_of=run.head.id,
            hops=run.head.hops,
        )
        return self.begin(definition, head, kept)

    def begin(
        self, definition: Definition, head: RunHead, kept: Mapping[str, tuple[Task, ...]] | None = None
    ) -> str:
        """Let a run begin, or queue for its group; all runs do so here. Returns its id.

        Raises `InvalidInput`, `GroupBusy` or `GroupDeadlock` when its concurrency group keeps it from either.
        """
        now, queued = head.created_at, False
        limits = definition.concurrency
        if limits is not None:
            head = replace(head, group=group_of(definition, head))
            queued = self.starting.groups.must_queue(head, limits)
        move = machine.start(definition, head, self._env(now), queued=queued, kept=kept)
        if queued and limits is not None and limits.on_conflict == "cancel_running":
            move = replace(move, signals=[*move.signals, *self.starting.groups.replaced_by(head)])
        self.batch.started.append(move.run)
        if head.key:
            self.loaded.keys[head.workflow, head.key] = head.id
        if head.retry_of:
            self.loaded.retries[head.retry_of] = head.id
        self._take(None, move, now)
        return head.id

    def apply(self, run_id: str, given: Input) -> None:
        """Let an input happen to a run that was loaded. Raises `IllegalInput`."""
        run = self.runs[run_id]
        now = self.now
        move = machine.apply(self.definitions.of(run.version), run, given, self._env(now))
        if isinstance(given, MoveRun):
            self._keep_definition(given.to, now)
        if move.facts:
            self._take(run, move, now)
        else:
            self._signal(move, now)  # an ended run answers its parent, and stays as it is

    def live_run(self, workflow: str, key: str) -> str | None:
        """The live run that has this key, also one of this very batch."""
        return self.loaded.keys.get((workflow, key)) if key else None

    # what else there is to write

    def record(self, record: InboxRecord) -> None:
        """Note what became of an event, or of a result that was refused."""
        if record.kind == "event":
            self.events[record.source, record.id] = record
        self.batch.inbox.append(record)

    def settle(self, record: InboxRecord) -> None:
        """Note that more became of an event that the inbox has."""
        event = (record.source, record.id)
        self.events[event] = self._settled[event] = record

    def keep_event(self, place: Place, scope: dict[str, Any]) -> None:
        """Keep an event for a while, for tasks that come to wait for it."""
        expires_at = self.now + int(self.settings.keep_events * 1_000_000)
        self.batch.kept.append(KeptEvent(*place, scope, expires_at))

    def apply_definition(self, definition: Definition) -> str:
        """Store a document and let new runs take it; returns its version."""
        put_definition(self.batch, definition, self.now)
        self.starting.schedules.apply(definition, self.now)
        self.applied.append(definition)
        return definition.version

    def announce(self, presence: Presence) -> None:
        """Remember an agent's announcement."""
        self.batch.presence[presence.name] = AgentRecord(presence=presence, seen_at=self.now)

    def close(self) -> Batch:
        """All is decided: the batch as it is to be written."""
        self._outgoing.order()
        self.batch.settled.extend(self._settled.values())
        return self.batch

    # what follows from a move

    def _env(self, now: Micros) -> Env:
        return Env(
            now=now,
            jitter=self._world.jitter(),
            epoch=self._epoch,
            start_within=int(self.settings.start_within * 1_000_000),
            grace=int(self.settings.grace * 1_000_000),
            query_every=int(self.settings.query_every * 1_000_000),
            registry=self._registry,
            limits=self._limits,
        )

    def _trace(self, traceparent: str) -> TraceContext:
        parent = parse_traceparent(traceparent)
        return TraceContext(
            trace_id=parent[0] if parent else self._world.hex_id(16),
            span_id=self._world.hex_id(8),
            parent_id=parent[1] if parent else "",
        )

    def _take(self, before: Run | None, move: Move, now: Micros) -> None:
        """Put a move into the batch: the run, its facts, and what it sends, starts and tells."""
        run = move.run
        run_id = run.head.id
        first = run.seq - len(move.facts) + 1
        self.runs[run_id] = run
        self.batch.changed[run_id] = run
        self.batch.facts.extend((run_id, seq, fact) for seq, fact in enumerate(move.facts, start=first))
        if run.ended is not None and self.live_run(run.head.workflow, run.head.key) == run_id:
            del self.loaded.keys[run.head.workflow, run.head.key]  # not of one that ended long ago
        if run.head.group:
            self.starting.groups.note(run)
        self._outgoing.send(before, move, now)
        for dispatch in move.commands:
            if dispatch.target.startswith(_AGENT):
                self._registry.busy[dispatch.target.removeprefix(_AGENT)] += 1
        if self.definitions.awaits.has(run.version):
            self._note_waits(before, move, now)
        self._signal(move, now)
        for child in move.children:
            self._start_child(run, child, now)

    def _note_waits(self, before: Run | None, move: Move, now: Micros) -> None:
        """Keep the table of waiting tasks equal to the run, and look for events that came before."""
        run = move.run
        old = {} if before is None else before.waits
        new = {} if run.ended is not None else run.waits
        begun = {
            (fact.step, fact.host_index)
            for fact in move.facts
            if isinstance(fact, TaskWaiting) and fact.wait.on is WaitOn.EVENT
        }
        for place in old.keys() - new.keys():
            self.batch.waits[(run.head.id, *place)] = None
        for (step, index), wait in new.items():
            if (step, index) in begun or (step, index) not in old:
                one = WaitingTask(run.head.id, step, index, wait.topic, wait.value, now)
                self.batch.waits[one.key] = one
                self.look_ups.append(LookForEvent(one))

    def _signal(self, move: Move, now: Micros) -> None:
        """Let other runs know; one that says the same again says it under another id."""
        for signal in move.signals:
            self._tell(f"{move.run.head.id}/{self._world.hex_id(8)}", signal, now)

    def _tell(self, signal_id: str, signal: Signal, now: Micros) -> None:
        self.batch.signals.append(StoredSignal(signal_id, signal.to, signal.given, now))

    def _start_child(self, parent: Run, child: StartChild, now: Micros) -> None:
        """Start a child run, once; or let its parent know why it cannot be."""
        if child.run_id in self.runs:
            return
        definition = self.definitions.current.get(child.workflow)
        problem = cannot_start(definition, child)
        if definition is None or problem is not None:
            self.refuse_child(parent, child, *(problem or ("", "")))
            return
        try:
            self.begin(definition, child_head(definition, parent, child, now, self._world.hex_id(8)))
        except (InvalidInput, GroupBusy, GroupDeadlock) as error:
            self.refuse_child(parent, child, error.code, error.message)

    def refuse_child(self, parent: Run, child: StartChild, code: str, message: str) -> None:
        """Let a run know that a child run of it cannot be started."""
        given: ChildEnded = not_started(child, code, message)
        self._tell(f"{parent.head.id}/{parent.seq}/{child.run_id}", Signal(parent.head.id, given), self.now)

    def _keep_definition(self, definition: Definition, now: Micros) -> None:
        """Have a version that a run was moved to at hand, and stored."""
        self.definitions.keep(definition)
        self.batch.definitions.append(stored_definition(definition, now))


_AGENT = Topology.agent_key("")
