"""What is durable, kept a second time: each committed batch is folded here, apart from the coordinator."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.evolution import evolve
from orchestrator.core.facts import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    Fact,
    NeverSeen,
    ResultIgnored,
    StepsKept,
    TaskInDoubt,
    TaskResolved,
)
from orchestrator.core.model import Run, RunStatus, Task
from orchestrator.store.port import Batch, InboxRecord, OutboxMessage
from orchestrator.store.starting import DebouncedEvent, PaceKey
from runtime.bus.port import Message
from schemas.codec import Malformed, decode
from schemas.messages import Command, Result, ResultStatus
from tests.simulation.nodes import TOPOLOGY
from tests.simulation.written import Written, read

__all__ = ["Observer"]

NEVER_STARTED = frozenset({"expired", "returned", "never_seen", "rejected"})
"""Statuses of an attempt's end which say that its action never began."""


@dataclass
class Observer:
    """The durable state as told by the commits, and what the broker was given."""

    definitions: dict[str, Definition]
    check_batch: Callable[[int, Batch], None]
    check_fact: Callable[[Run, Fact, Run], None]
    time: Callable[[], float]
    runs: dict[str, Run] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    inbox: dict[tuple[str, str], InboxRecord] = field(default_factory=dict)
    refused_results: set[str] = field(default_factory=set)
    outbox: dict[int, OutboxMessage] = field(default_factory=dict)
    """Committed and not yet removed."""
    removed: list[OutboxMessage | None] = field(default_factory=list)
    """What the last batch took out of the outbox; None for what was not in it."""
    sent: Counter[tuple[str, str, bytes]] = field(default_factory=Counter)
    """How many messages alike were taken out of the outbox before the last batch."""
    may_go_out: set[tuple[str, str, bytes]] = field(default_factory=set)
    commands: dict[str, Command] = field(default_factory=dict)
    epoch: int = 0
    never_started: dict[str, str] = field(default_factory=dict)
    """Commands that the coordinator takes for never begun, and why."""
    by_person: set[str] = field(default_factory=set)
    """Commands about whose outcome a person decided."""
    tombstones: set[tuple[str, str]] = field(default_factory=set)
    """(instance id, command id): the agent promised never to start it."""
    final_results: dict[str, Result] = field(default_factory=dict)
    """Final results that some queue of ours took, by command."""
    answered: set[tuple[str, str]] = field(default_factory=set)
    """(agent, command id): it said finally what became of it."""
    ended: set[str] = field(default_factory=set)
    """Commands of whose end the history tells."""
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many facts tell of a result with (command id, status)."""
    taken: set[str] = field(default_factory=set)
    """Commands of which the history says that an agent has them."""
    doubted: set[str] = field(default_factory=set)
    """Commands of which the history says that somebody did not know, or did not have, them."""
    announced: dict[str, float] = field(default_factory=dict)
    """When the last announcement of each agent was stored."""
    signals: set[str] = field(default_factory=set)
    signals_done: set[str] = field(default_factory=set)
    debounced: dict[PaceKey, DebouncedEvent | None] = field(default_factory=dict)
    """The event of each debounce."""
    _written: dict[str, Written] = field(default_factory=dict)

    def committed(self, epoch: int, batch: Batch) -> None:
        """Take in a batch at the moment it becomes durable."""
        for run in batch.started:
            self.runs[run.head.id] = Run(head=run.head, steps={})
            self.facts[run.head.id] = []
        for run_id, seq, fact in batch.facts:
            self._fold(run_id, seq, fact)
        for message in batch.outbox:
            self.outbox[message.id] = message
            self.may_go_out.add((message.exchange, message.routing_key, message.body))
            if message.exchange == TOPOLOGY.commands:
                command = decode(message.body, Command)
                self.commands[command.id] = command
        self.removed = [self.outbox.pop(outbox_id, None) for outbox_id in batch.sent]
        self.announced.update(dict.fromkeys(batch.presence, self.time()))
        self.check_batch(epoch, batch)
        self.epoch = epoch
        self.sent.update((one.exchange, one.routing_key, one.body) for one in self.removed if one is not None)
        self.signals.update(one.id for one in batch.signals)
        self.signals_done.update(batch.signals_done)
        self.debounced.update(batch.starting.debounced)
        for record in batch.inbox:
            if record.kind == "event":
                self.inbox[record.source, record.id] = record
            else:
                self.refused_results.add(record.id)

    def _fold(self, run_id: str, seq: int, fact: Fact) -> None:
        before = self.runs[run_id]
        assert seq == before.seq + 1, f"{run_id}: fact {seq} after {before.seq}"
        after = evolve(before, fact)
        self.check_fact(before, fact, after)
        self.runs[run_id] = after
        self.facts[run_id].append(fact)
        if isinstance(fact, AttemptFailed) and fact.status in NEVER_STARTED and fact.command_id:
            self.never_started[fact.command_id] = fact.status
        if isinstance(fact, AttemptFailed | AttemptSucceeded):
            self.ended.add(fact.command_id)
        if isinstance(fact, AttemptFailed | ResultIgnored):
            self.told[fact.command_id, fact.status] += 1
        elif isinstance(fact, AttemptSucceeded):
            self.told[fact.command_id, "succeeded"] += 1
        elif isinstance(fact, AttemptStarted):
            self.taken.add(fact.command_id)
        elif isinstance(fact, TaskInDoubt | NeverSeen):
            self.doubted.add(fact.command_id)
        if isinstance(fact, TaskResolved):
            command_id = before.steps[fact.step][fact.host_index].command_id
            if command_id:
                self.by_person.add(command_id)
                self.ended.add(command_id)

    def published(self, message: Message) -> None:
        """A message reached the broker."""
        if message.exchange != TOPOLOGY.results or not message.routing_key.startswith("result."):
            return
        try:
            result = decode(message.body, Result)
        except Malformed:
            return  # see `garbage.py`
        if result.status is ResultStatus.NEVER_SEEN:
            self.tombstones.add((result.instance_id, result.command_id))
        if result.status.is_final:
            self.final_results[result.command_id] = result
            self.answered.add((result.agent, result.command_id))

    def step(self, run: Run, name: str) -> StepDef:
        """The definition of a run's step."""
        return self.definitions[run.version].steps[name]

    def written(self, run: Run) -> Written:
        """What the document of a run says."""
        if run.version not in self._written:
            self._written[run.version] = read(self.definitions[run.version].document)
        return self._written[run.version]

    def doer(self, run: Run, step: str) -> Run:
        """The run that did what a run has of a step: itself, or the one from which it keeps that step."""
        while run.head.retry_of and any(
            isinstance(fact, StepsKept) and step in fact.steps for fact in self.facts[run.head.id][:2]
        ):
            run = self.runs[run.head.retry_of]
        return run

    def tasks(self, run: Run) -> list[tuple[StepDef, int, Task]]:
        """Every task with its step."""
        return [
            (self.step(run, name), index, task)
            for name, tasks in run.steps.items()
            for index, task in enumerate(tasks)
        ]

    def live(self) -> list[Run]:
        """Runs that have not ended."""
        return [run for run in self.runs.values() if run.ended is None and run.seq]

    def ends(self) -> dict[RunStatus, int]:
        """How many runs ended in which way."""
        count: dict[RunStatus, int] = {}
        for run in self.runs.values():
            if run.ended is not None:
                count[run.ended] = count.get(run.ended, 0) + 1
        return count
