"""Accounts of one run, kept by a test that watches it: who has which command, what left an effect, and so on.

They are made from what was delivered to the run and what it sent, and never from the machine's state. Whether
what the machine claims is proved is judged in `claims` and the modules it takes together; what an
input proves, in `evidence`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.inputs import Dispatch, Env, Input, Move, Signal
from orchestrator.core.model import RunHead, RunStatus, WaitOn
from schemas.messages import Command, CommandKind

__all__ = ["Book", "Entry", "Stand", "Verdict", "must"]

QUESTIONS: Final = (CommandKind.QUERY, CommandKind.CANCEL)


class Stand(Enum):
    """Where a task stands, going forward or (`Entry.back`) being undone."""

    IDLE = "it has not begun"
    OPEN = "a command is out, or it waits for something"
    REST = "it waits for its next attempt"
    DONE = "what needs it may go on"
    FAILED = "it failed for good"
    CANCELLED = "it was given up because the run goes back"


@dataclass
class Entry:
    """The account of one task.

    `made` and `allowed` count attempts in the direction it goes. `known`: the instance of the agent that the
    command went to. `worker`: who took the last forward attempt. `seen`: every event that it had.
    """

    allowed: int = 0
    stand: Stand = Stand.IDLE
    back: bool = False
    made: int = 0
    command: Command | None = None
    target: str = ""
    taken_by: str = ""
    known: str = ""
    denied: set[str] = field(default_factory=set)
    doubt: bool = False
    lost: bool = False
    cancel_sent: bool = False
    wait: WaitOn | None = None
    child: str = ""
    due: int | None = None
    not_before: int = 0
    effect: bool = False
    effect_agent: str = ""
    worker: str = ""
    undone: bool = False
    given_up: bool = False
    skipped: bool = False
    tolerated: bool = False
    parked: bool = False
    part: bool = False
    batch: int = 0
    host: str = ""

    def close(self, stand: Stand) -> None:
        """Nothing is outstanding any more."""
        self.stand, self.command, self.wait, self.due = stand, None, None, None
        self.doubt, self.lost, self.parked, self.denied = False, False, False, set()

    @property
    def begun(self) -> bool:
        """Whether anything was ever tried."""
        return self.made > 0 or self.part or self.stand is not Stand.IDLE or self.back

    @property
    def active(self) -> bool:
        """Whether something may be going forward there."""
        return not self.back and self.stand is Stand.OPEN

    @property
    def in_question(self) -> bool:
        """Whether a person may decide about it."""
        failed_undo = self.back and self.stand is Stand.FAILED and not self.given_up
        return (self.doubt and self.stand is Stand.OPEN) or failed_undo or self.parked


@dataclass(frozen=True)
class Verdict:
    """What an input proves about the outstanding attempt of a task.

    `closes`: it is over; `done`: it did what it is for. `taken`: an agent has it. `doubt`: nobody knows.
    """

    entry: Entry
    closes: bool = False
    done: bool = False
    effect: bool = False
    retryable: bool = True
    taken: bool = False
    doubt: bool = False
    denied: bool = False
    agent: str = ""


def must(holds: object, rule: str, about: object = "") -> None:
    """Refuse a claim."""
    assert holds, f"{rule}: {about}"


class Book:
    """The accounts of one run, and the move at hand."""

    def __init__(self, definition: Definition, head: RunHead) -> None:
        self.definition = definition
        self.head = head
        self.entries: dict[str, list[Entry]] = {}
        self.command_ids: set[str] = set()
        self.children: set[str] = set()
        self.used_events: set[tuple[str, str]] = set()
        self.pauses: dict[tuple[str, int], int] = {}
        self.deadline: int | None = None
        self.yielded_at: int | None = None
        self.queued = self.paused = self.going_back = self.pivoted = self.held = self.cancelled = False
        self.ended: RunStatus | None = None
        self.given: Input | None = None
        self.env = Env(now=0)
        self.verdict: Verdict | None = None
        self.just_parked = False
        self.commands: list[Dispatch] = []
        self.signals: list[Signal] = []
        self.others: dict[str, list[Any]] = {}

    # What came with the move at hand

    def open_move(self, move: Move) -> None:
        """Lay out what the move sends; each fact then takes its own."""
        self.commands, self.signals = list(move.commands), list(move.signals)
        self.others = {"child": list(move.children), "emission": list(move.emissions)}
        self.just_parked = False
        if move.facts:
            self.yielded_at = None

    def sent(self, kind: CommandKind, command_id: str) -> Dispatch:
        """The next command of the move, which must be this one."""
        must(self.commands, "a fact says that a command was sent, and there is none", command_id)
        dispatch = self.commands.pop(0)
        must(dispatch.command.kind is kind, "the command is of another kind", dispatch)
        about = dispatch.command.args["command_id"] if kind in QUESTIONS else dispatch.command.id
        must(about == command_id, "the command is another one", dispatch)
        return dispatch

    def started(self, kind: str) -> Any:
        """The next child or emission of the move."""
        must(self.others[kind], f"a fact says that there is a {kind}, and there is none")
        return self.others[kind].pop(0)

    def signalled(self, to: str, kind: type) -> Any:
        """The signal of this kind to another run."""
        found = [one for one in self.signals if one.to == to and isinstance(one.given, kind)]
        must(found, f"{kind.__name__} was not sent", to)
        self.signals.remove(found[0])
        return found[0].given

    # What the accounts say

    def each(self) -> Iterator[tuple[StepDef, int, Entry]]:
        """Every task with its step."""
        for name, entries in self.entries.items():
            for index, entry in enumerate(entries):
                yield self.definition.steps[name], index, entry

    def entry(self, fact: Any) -> Entry:
        """The task that a fact is about."""
        entries = self.entries[fact.step]
        return entries[int(fact.host_index)]

    def step(self, fact: Any) -> StepDef:
        """The step that a fact is about."""
        return self.definition.steps[fact.step]

    def new_entry(self, step: str, **fields: Any) -> Entry:
        """A task that has not begun."""
        return Entry(allowed=self.definition.steps[step].retry.attempts, **fields)

    def is_done(self, step: str) -> bool:
        """Whether what needs this step may go on."""
        return all(entry.stand is Stand.DONE and not entry.back for entry in self.entries[step])

    def pivot_succeeded(self, step: str) -> bool:
        """Whether the step is done, and not only skipped or its failure put up with."""
        entries = self.entries[step]
        done = any(one.stand is Stand.DONE and not (one.skipped or one.tolerated) for one in entries)
        return done and self.is_done(step)

    def failures(self, step: str) -> int:
        """How many of its tasks failed for good."""
        entries = self.entries[step]
        return sum(not one.back and (one.tolerated or one.stand is Stand.FAILED) for one in entries)

    def too_many_failed(self, step: StepDef) -> bool:
        """Whether that is more than the document puts up with."""
        return self.failures(step.id) > (0 if step.rollout is None else step.rollout.max_failures)

    def wants_undo(self, step: StepDef, entry: Entry) -> bool:
        """Whether an effect is left to undo."""
        return step.can_undo and entry.effect and not entry.undone and not entry.given_up

    def wanted(self, name: str) -> list[int]:
        """The tasks of a step whose effect is still to be undone."""
        step = self.definition.steps[name]
        return [i for i, entry in enumerate(self.entries[name]) if self.wants_undo(step, entry)]

    def wake_at(self) -> int | None:
        """When something is due, by what was sent, awaited and promised."""
        due: list[int] = []
        for step, _, entry in self.each():
            if entry.stand is Stand.OPEN and entry.due is not None:
                due.append(entry.due)
            elif entry.stand is Stand.REST and not self.paused:
                due.append(entry.not_before)
            elif entry.stand is Stand.IDLE and not self.paused and (step.id, entry.batch) in self.pauses:
                due.append(self.pauses[step.id, entry.batch])
        if self.yielded_at is not None:
            due.append(self.yielded_at)
        if self.deadline is not None and not (self.going_back or self.paused or self.pivoted or self.held):
            due.append(self.deadline)
        return min(due, default=None)

    def moves_on_by(self) -> set[str]:
        """Rule 12: what will move the run on; nothing means that it hangs."""
        found = {"slot"} if self.queued else {"parent"} if self.held else {"person"} if self.paused else set()
        found |= set() if self.yielded_at is None else {"time"}
        for step, _, entry in self.each():
            if entry.stand is Stand.REST or (entry.stand is Stand.OPEN and entry.due is not None):
                found.add("time")
            if entry.stand is Stand.OPEN and entry.wait is WaitOn.CHILD:
                found.add("child")
            if entry.stand is Stand.IDLE and (step.id, entry.batch) in self.pauses:
                found.add("time")
            if entry.in_question:
                found.add("person")
        return found
