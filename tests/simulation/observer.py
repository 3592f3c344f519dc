"""What is durable, kept a second time: each committed batch is folded here, apart from the coordinator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.evolution import evolve
from orchestrator.core.facts import AttemptFailed, Fact, StepsKept, TaskResolved
from orchestrator.core.model import Run, RunStatus, Task
from orchestrator.store.port import Batch, InboxRecord
from runtime.bus.port import Message
from schemas.codec import decode
from schemas.messages import Command, Result, ResultStatus
from tests.simulation.nodes import TOPOLOGY

__all__ = ["Observer"]

NEVER_STARTED = frozenset({"expired", "returned", "never_seen", "rejected"})
"""Statuses of an attempt's end which say that its action never began."""


@dataclass
class Observer:
    """The durable state as told by the commits, and what the broker was given."""

    definitions: dict[str, Definition]
    check_batch: Callable[[int, Batch], None]
    check_fact: Callable[[Run, Fact, Run], None]
    runs: dict[str, Run] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    inbox: dict[tuple[str, str], InboxRecord] = field(default_factory=dict)
    refused_results: set[str] = field(default_factory=set)
    outbox: dict[int, Any] = field(default_factory=dict)
    """Committed and not yet removed."""
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
        for outbox_id in batch.sent:
            self.outbox.pop(outbox_id, None)
        self.check_batch(epoch, batch)
        self.epoch = epoch
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
        if isinstance(fact, TaskResolved):
            command_id = before.steps[fact.step][fact.host_index].command_id
            if command_id:
                self.by_person.add(command_id)

    def published(self, message: Message) -> None:
        """A message reached the broker."""
        if message.exchange != TOPOLOGY.results or not message.routing_key.startswith("result."):
            return
        result = decode(message.body, Result)
        if result.status is ResultStatus.NEVER_SEEN:
            self.tombstones.add((result.instance_id, result.command_id))
        if result.status.is_final:
            self.final_results[result.command_id] = result

    def step(self, run: Run, name: str) -> StepDef:
        """The definition of a run's step."""
        return self.definitions[run.version].steps[name]

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
