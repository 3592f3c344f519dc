"""One batch in the making: what was loaded for it, what it changes, and what it answers.

Nothing here waits: messages are read and rows are loaded before (`coordinator.py`), and what is decided
here is written in one transaction after.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core import machine
from orchestrator.core.definition import Definition
from orchestrator.core.inputs import Env, Input, Move
from orchestrator.core.model import Run, RunHead, TraceContext
from orchestrator.definitions import Definitions, put_definition
from orchestrator.lifecycle import lifecycle_events
from orchestrator.settings import Settings
from orchestrator.store.port import AgentRecord, Batch, InboxRecord, OutboxMessage
from orchestrator.triggers import Refused, Wanted, wanted_runs
from orchestrator.world import World
from schemas.codec import encode
from schemas.events import Event, event_scope, parse_traceparent, write_event
from schemas.messages import Presence
from schemas.names import Topology
from schemas.times import Micros

__all__ = ["Loaded", "Work"]


@dataclass(slots=True)
class Loaded:
    """What the store knows about the items of a batch."""

    runs: dict[str, Run] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    events: dict[tuple[str, str], InboxRecord] = field(default_factory=dict)


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
        self.batch = Batch()
        self.runs = loaded.runs
        self.applied: list[Definition] = []
        self._keys = loaded.keys
        self._events = loaded.events
        self.settings = settings
        self._topology = topology
        self._world = world
        self._epoch = epoch
        self._next_outbox_id = next_outbox_id
        self.definitions = definitions

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
        now = self._world.now()
        parent = parse_traceparent(traceparent)
        head = RunHead(
            id=self._world.run_id(),
            workflow=definition.name,
            version=definition.version,
            key=key,
            created_at=now,
            trace=TraceContext(
                trace_id=parent[0] if parent else self._world.hex_id(16),
                span_id=self._world.hex_id(8),
                parent_id=parent[1] if parent else "",
            ),
            shard=self.settings.shard,
            input=value,
            event=None if event is None else event_scope(event),
        )
        move = machine.start(definition, head, self._env(now))
        self.batch.started.append(move.run)
        self._take(None, move, now)
        if key:
            self._keys[definition.name, key] = head.id
        return head.id

    def apply(self, run_id: str, given: Input) -> None:
        """Let an input happen to a run that was loaded; raises `IllegalInput`."""
        run = self.runs[run_id]
        now = self._world.now()
        move = machine.apply(self.definitions.of(run.head.version), run, given, self._env(now))
        if move.facts:
            self._take(run, move, now)

    def live_run(self, workflow: str, key: str) -> str | None:
        """The live run that has this key, also one of this very batch."""
        return self._keys.get((workflow, key)) if key else None

    def receive_event(
        self, event: Event, wanted: Sequence[Wanted | Refused], traceparent: str
    ) -> InboxRecord:
        """Take in an event once, whatever it starts; rule 1 and the inbox decide (`docs/rules.md`)."""
        seen = self._events.get((event.source, event.id))
        if seen is not None:
            return seen
        started: list[str] = []
        duplicates: list[str] = []
        reasons: list[str] = []
        for want in wanted:
            if isinstance(want, Refused):
                reasons.append(f"{want.workflow}: {want.reason}")
            elif (live := self.live_run(want.definition.name, want.key)) is not None:
                duplicates.append(live)
                reasons.append(f"{want.definition.name}: key '{want.key}' belongs to the live run {live}")
            else:
                started.append(self.start_run(want.definition, want.key, want.input, event, traceparent))
        refused = any(isinstance(want, Refused) for want in wanted)
        outcome = (
            "started" if started else "rejected" if refused else "duplicate" if duplicates else "no_trigger"
        )
        record = InboxRecord(
            source=event.source,
            id=event.id,
            type=event.type,
            outcome=outcome,
            at=self._world.now(),
            reason="; ".join(reasons)[:2000],
            runs=started or duplicates,
        )
        self._events[event.source, event.id] = record
        self.batch.inbox.append(record)
        return record

    def refuse_result(self, agent: str, command_id: str, status: str, reason: str) -> None:
        """Record a result that belongs to no run of ours."""
        self.batch.inbox.append(
            InboxRecord(
                kind="result",
                source=agent,
                id=command_id,
                type=status,
                outcome="rejected",
                at=self._world.now(),
                reason=reason,
            )
        )

    def apply_definition(self, definition: Definition) -> str:
        """Store a document and let new runs take it; returns its version."""
        put_definition(self.batch, definition, self._world.now())
        self.applied.append(definition)
        return definition.version

    def announce(self, presence: Presence) -> None:
        """Remember an agent's announcement."""
        self.batch.presence[presence.name] = AgentRecord(presence=presence, seen_at=self._world.now())

    # what follows from a move

    def _env(self, now: Micros) -> Env:
        return Env(
            now=now,
            jitter=self._world.jitter(),
            epoch=self._epoch,
            start_within=int(self.settings.start_within * 1_000_000),
            grace=int(self.settings.grace * 1_000_000),
        )

    def _take(self, before: Run | None, move: Move, now: Micros) -> None:
        """Put a move into the batch: the run, its facts, its commands, and what is told about it."""
        run = move.run
        first = run.seq - len(move.facts) + 1
        self.runs[run.head.id] = run
        self.batch.changed[run.head.id] = run
        self.batch.facts.extend((run.head.id, seq, fact) for seq, fact in enumerate(move.facts, start=first))
        if run.ended is not None and run.head.key:
            self._keys.pop((run.head.workflow, run.head.key), None)
        for dispatch in move.commands:
            command = dispatch.command
            self._send(
                self._topology.commands,
                dispatch.target,
                encode(command),
                now,
                headers={"traceparent": f"00-{run.head.trace.trace_id}-{dispatch.span_id}-01"},
                expires_at=now + int((command.expires_at - command.issued_at).total_seconds() * 1_000_000),
                mandatory=True,
            )
        for key, event in lifecycle_events(before, move, self._topology.namespace, self.settings.lifecycle):
            content_type = "application/cloudevents+json"
            self._send(self._topology.lifecycle, key, write_event(event), now, content_type=content_type)

    def _send(self, exchange: str, routing_key: str, body: bytes, now: Micros, **options: Any) -> None:
        self.batch.outbox.append(
            OutboxMessage(
                id=self._next_outbox_id(),
                exchange=exchange,
                routing_key=routing_key,
                body=body,
                at=now,
                **options,
            )
        )


def match_event(event: Event, definitions: Mapping[str, Definition]) -> list[Wanted | Refused]:
    """Which runs of the current definitions an event asks for."""
    return wanted_runs(event.type, event_scope(event), definitions.values())
