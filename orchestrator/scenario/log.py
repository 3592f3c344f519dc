"""What happened in a scenario, in order."""

from dataclasses import dataclass, field
from typing import Any

from orchestrator.scenario.naming import CommandName, Moment
from schemas.events import Event
from schemas.messages import Command
from schemas.secrets import fill
from schemas.times import Micros

__all__ = ["Entry", "Log", "SentCommand"]


@dataclass(slots=True)
class SentCommand:
    """A command on its way. `number`, `answered`: in which turn it was sent and first answered for good."""

    at: Micros
    number: int
    name: CommandName
    agents: tuple[str, ...]
    runs: tuple[str, ...]
    command: Command
    answered: int | None = None

    def fits(self, wanted: CommandName) -> bool:
        """Whether `wanted` names this command."""
        return wanted.fits(self.name, agents=self.agents, runs=self.runs)

    @property
    def args(self) -> dict[str, Any]:
        """Its arguments, with the text `secret:<name>` for a secret's value."""
        return fill(self.command.args, self.command.secrets, "secret:{}".format)

    def text(self, *, with_run: bool) -> str:
        """Its full name as a scenario would write it."""
        name = self.name
        verb = "" if name.verb == "do" else f"{name.verb} "
        index = f"[{name.index}]" if name.index else ""
        attempt = f"#{name.attempt}" if name.attempt != 1 else ""
        run = f" in {self.runs[0]}" if with_run else ""
        return f"{verb}{'undo ' if name.undo else ''}{name.step}{index}{attempt} on {self.agents[0]}{run}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of what happened. `kind`: `start event command result step run emit move note`."""

    at: Micros
    kind: str
    run: str
    text: str


@dataclass(slots=True)
class Change:
    """A status that something has from now on; `step` is empty for the run itself."""

    runs: tuple[str, ...]
    step: str
    index: int
    status: str

    def is_moment(self, moment: Moment) -> bool:
        """Whether it is the moment that is waited for."""
        if moment.status != self.status or (moment.run is not None and moment.run not in self.runs):
            return False
        if moment.subject is None:
            return not self.step
        return moment.subject.step == self.step and moment.subject.index in (None, self.index)


@dataclass(slots=True)
class Log:
    """Everything that happened; positions in it are one sequence over all kinds."""

    entries: list[Entry] = field(default_factory=list)
    commands: list[SentCommand] = field(default_factory=list)
    emitted: list[tuple[Micros, Event]] = field(default_factory=list)
    inbox: list[str] = field(default_factory=list)
    facts: dict[str, list[Any]] = field(default_factory=dict)
    """The history of each run, by its id."""
    handled: int = 0

    def answer(self, command_id: str, *, final: bool) -> None:
        """Note that somebody said how a command stands or ended; what was asked about it is answered too."""
        for sent in self.commands:
            asked = sent.name.verb != "do" and sent.command.args.get("command_id") == command_id
            if sent.answered is None and (asked or (final and sent.command.id == command_id)):
                sent.answered = self.handled
