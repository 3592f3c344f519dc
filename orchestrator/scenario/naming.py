"""How commands and moments are named in a scenario: one line of text (`schemas.scenario` has the grammar)."""

import re
from dataclasses import dataclass
from typing import Final

from orchestrator.core.model import RunStatus, StepStatus
from schemas.errors import InvalidInput

__all__ = ["CommandName", "Moment", "parse_command", "parse_moment"]

_COMMAND: Final = re.compile(
    r"(?:(?P<verb>cancel|query) )?(?P<undo>undo )?(?P<step>[A-Za-z][A-Za-z0-9_-]*)"
    r"(?:\[(?P<index>[0-9]+)\])?(?:#(?P<attempt>[0-9]+))?"
    r"(?: on (?P<agent>[^ ]+))?(?: in (?P<run>[^ ]+))?"
)
_STATUSES: Final = (*sorted({str(status) for kind in (RunStatus, StepStatus) for status in kind}), "sent")
_HINT: Final = (
    "write STEP, undo STEP, cancel STEP or query STEP, then perhaps [INDEX]#ATTEMPT on AGENT in RUN"
)


@dataclass(frozen=True, slots=True)
class CommandName:
    """A command, or several alike: what is None may be anything. `verb` is `do`, `cancel` or `query`."""

    verb: str
    undo: bool
    step: str
    index: int | None = None
    attempt: int | None = None
    agent: str | None = None
    run: str | None = None

    @property
    def weight(self) -> int:
        """How much it says: of two names that fit, the one that says more counts."""
        return sum(part is not None for part in (self.index, self.attempt, self.agent, self.run))

    def fits(self, other: "CommandName", *, agents: tuple[str, ...], runs: tuple[str, ...]) -> bool:
        """Whether a command that is fully known is meant; `agents` and `runs` are all names it goes by."""
        return (
            (self.verb, self.undo, self.step) == (other.verb, other.undo, other.step)
            and self.index in (None, other.index)
            and self.attempt in (None, other.attempt)
            and (self.agent is None or self.agent in agents)
            and (self.run is None or self.run in runs)
        )


def parse_command(text: str) -> CommandName:
    """The command that `text` names; `InvalidInput` if it names none."""
    match = _COMMAND.fullmatch(text)
    if match is None:
        raise InvalidInput(f"'{text}' names no command", code="bad_scenario", hint=_HINT)
    return CommandName(
        verb=match["verb"] or "do",
        undo=match["undo"] is not None,
        step=match["step"],
        index=None if match["index"] is None else int(match["index"]),
        attempt=None if match["attempt"] is None else int(match["attempt"]),
        agent=match["agent"],
        run=match["run"],
    )


@dataclass(frozen=True, slots=True)
class Moment:
    """The first time that a run (`subject` is None) or a step has a status, or that a command is sent."""

    subject: CommandName | None
    status: str
    run: str | None


def parse_moment(text: str) -> Moment:
    """The moment that `text` names; `InvalidInput` if it names none."""
    body, _, run = text.partition(" in ")
    subject, _, status = body.rpartition(" ")
    if status not in _STATUSES or not subject:
        raise InvalidInput(
            f"'{text}' names no moment",
            code="bad_scenario",
            hint=f"write 'STEP STATUS', 'run STATUS' or 'COMMAND sent'; statuses: {', '.join(_STATUSES)}",
        )
    named = None if subject == "run" else parse_command(subject)
    return Moment(subject=named, status=status, run=run or None)
