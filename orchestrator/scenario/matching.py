"""Commands that were expected beside those that were sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from orchestrator.scenario.clock import moment_text
from orchestrator.scenario.log import SentCommand
from orchestrator.scenario.naming import CommandName, parse_command
from schemas.scenario import ExpectedCommand
from schemas.times import Micros, parse_duration

__all__ = ["Row", "compare_commands"]

Item = str | ExpectedCommand
Group = tuple[int, ...]
"""Names commands that are side by side."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison: what was expected, what was sent, or both. `note`: what is wrong."""

    expected: str | None
    actual: str | None
    at: Micros | None
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether both go together."""
        return self.expected is not None and self.actual is not None and not self.note


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One expected command. Those of one `group` are side by side."""

    text: str
    name: CommandName
    at: Micros | None = None
    args: Any = UNSET
    group: Group | None = None


_Sequence = list[list[_Wanted]]
"""Commands in order; those of one place come in any order."""


def compare_commands(
    expected: Sequence[Item | list[Item]], sent: Sequence[SentCommand], *, with_run: bool
) -> list[Row]:
    """Every expected and every sent command, aligned; they agree if every row is good."""
    wanted = _in_sent_order(expected, sent)
    pairs = _align(wanted, sent)
    answered = _first_answers(pairs)
    rows = []
    for want, found in pairs:
        text = None if found is None else found.text(with_run=with_run)
        note = "" if want is None or found is None else _fault(want, found, answered)
        expected_text = None if want is None else f"{'| ' if want.group is not None else ''}{want.text}"
        rows.append(Row(expected_text, text, None if found is None else found.at, note))
    return rows


# expected commands, in the order in which they were sent as far as that is free


def _in_sent_order(expected: Sequence[Item | list[Item]], sent: Sequence[SentCommand]) -> list[_Wanted]:
    wanted: list[_Wanted] = []
    place = 0
    for number, element in enumerate(expected):
        ordered, place = _merge(_sequences(element, number), sent, place)
        wanted += ordered
    return wanted


def _sequences(element: Item | list[Item], number: int) -> list[_Sequence]:
    """What an element consists of: sequences that keep their order, mixed in any way."""
    if isinstance(element, list):
        return [[[_wanted(item, (number,))]] for item in element]
    if isinstance(element, ExpectedCommand) and element.any is not None:
        return [
            [
                _stage(one, (number, place, inner))
                for inner, one in enumerate(row if isinstance(row, list) else [row])
            ]
            for place, row in enumerate(element.any)
        ]
    return [[[_wanted(element)]]]


def _stage(given: str | list[str], group: Group) -> list[_Wanted]:
    """One place in a sequence: a command, or several side by side."""
    return [_wanted(text, group) for text in given] if isinstance(given, list) else [_wanted(given)]


def _wanted(item: Item, group: Group | None = None) -> _Wanted:
    if isinstance(item, str):
        return _Wanted(item, parse_command(item), group=group)
    text = item.command or ""
    at = None if item.at is None else parse_duration(item.at)
    return _Wanted(text, parse_command(text), at=at, args=item.with_, group=group)


def _merge(sequences: list[_Sequence], sent: Sequence[SentCommand], place: int) -> tuple[list[_Wanted], int]:
    """The sequences as one, in the order of what was sent from `place` on; what was not sent comes last."""
    left = [[list(stage) for stage in sequence] for sequence in sequences]
    merged: list[_Wanted] = []
    after = place
    for index in range(place, len(sent)):
        fitting = [
            (want.name.weight, number, want)
            for number, sequence in enumerate(left)
            for want in sequence[0]
            if sent[index].fits(want.name)
        ]
        if not left or (not fitting and len(sequences) == 1):
            break
        if fitting:
            _, number, want = max(fitting, key=lambda one: one[0])
            merged.append(want)
            left[number][0].remove(want)
            left = [[stage for stage in sequence if stage] for sequence in left]
            left = [sequence for sequence in left if sequence]
            after = index + 1
    return merged + [want for sequence in left for stage in sequence for want in stage], after


# side by side


def _align(
    wanted: Sequence[_Wanted], sent: Sequence[SentCommand]
) -> list[tuple[_Wanted | None, SentCommand | None]]:
    """The longest common part, with what is only on one side in between."""
    best = [[0] * (len(sent) + 1) for _ in range(len(wanted) + 1)]
    for i in range(len(wanted) - 1, -1, -1):
        for j in range(len(sent) - 1, -1, -1):
            fits = sent[j].fits(wanted[i].name)
            best[i][j] = best[i + 1][j + 1] + 1 if fits else max(best[i + 1][j], best[i][j + 1])
    pairs: list[tuple[_Wanted | None, SentCommand | None]] = []
    i = j = 0
    while i < len(wanted) or j < len(sent):
        if i < len(wanted) and j < len(sent) and sent[j].fits(wanted[i].name):
            pairs.append((wanted[i], sent[j]))
            i, j = i + 1, j + 1
        elif j == len(sent) or (i < len(wanted) and best[i + 1][j] >= best[i][j + 1]):
            pairs.append((wanted[i], None))
            i += 1
        else:
            pairs.append((None, sent[j]))
            j += 1
    return pairs


def _first_answers(pairs: Sequence[tuple[_Wanted | None, SentCommand | None]]) -> dict[Group, int]:
    """When the first command of each group was answered."""
    first: dict[Group, int] = {}
    for want, found in pairs:
        if want is not None and want.group is not None and found is not None and found.answered is not None:
            first[want.group] = min(found.answered, first.get(want.group, found.answered))
    return first


def _fault(want: _Wanted, found: SentCommand, answered: dict[Group, int]) -> str:
    """What is wrong with a command that is otherwise the right one."""
    if want.group in answered and found.number >= answered[want.group]:
        return "sent only after another of these was answered"
    if want.at is not None and want.at != found.at:
        return f"expected at {moment_text(want.at)}"
    if want.args is not UNSET and want.args != found.args:
        return f"expected with {want.args}, sent with {found.args}"
    return ""
