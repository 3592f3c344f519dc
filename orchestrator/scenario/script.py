"""What the simulated agents are told to do: the outcome of each attempt."""

from collections.abc import Mapping
from typing import Final

from orchestrator.scenario.naming import CommandName, parse_command
from schemas.scenario import Outcome, Outcomes

__all__ = ["Script"]

_SUCCEED: Final = Outcome(do="succeed")


class Script:
    """Outcomes by command name; of several names that fit, the one that says most counts."""

    def __init__(self, outcomes: Mapping[str, Outcomes]) -> None:
        parsed = [(parse_command(name), _each(given)) for name, given in outcomes.items()]
        self._lines = sorted(parsed, key=lambda line: -line[0].weight)

    def outcome(self, command: CommandName, *, agents: tuple[str, ...], runs: tuple[str, ...]) -> Outcome:
        """What is to become of this attempt: its number picks from a list, whose last entry stays."""
        for name, outcomes in self._lines:
            if name.fits(command, agents=agents, runs=runs):
                attempt = command.attempt or 1
                return outcomes[min(attempt, len(outcomes)) - 1]
        return _SUCCEED


def _each(given: Outcomes) -> tuple[Outcome, ...]:
    """An entry of `outcomes`, written out."""
    items = given if isinstance(given, list) else [given]
    return tuple(_one(item) for item in items) or (_SUCCEED,)


def _one(given: str | Outcome) -> Outcome:
    if isinstance(given, str):
        return Outcome(do=given)
    if given.do is not None:
        return given
    fields = {name: getattr(given, name) for name in given.__struct_fields__}
    return Outcome(**{**fields, "do": "succeed" if given.code is None else "fail"})
