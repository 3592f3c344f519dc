"""How lines run between two layers of a text: down from a box, along a row, and down into others.

Each net (the lines that leave one spot) has columns of its own and, unless it runs straight, a stretch of a
row of its own. So lines of different nets only ever cross, and never seem to join.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from orchestrator.graph.layout import PASSING, Layout, Spot

__all__ = ["Net", "route"]

_SPREAD: Final = 4
"""Columns between lines that end in the same box, where there is room."""


@dataclass(frozen=True, slots=True)
class Net:
    """The lines from one spot: the column it leaves, where they end, and the row (from 0) they run along.

    `row` is None when there is a single line, which runs straight down.
    """

    start: Spot
    column: int
    ends: Mapping[Spot, int]
    row: int | None


def route(layout: Layout, layer: int, columns: Mapping[Spot, int], widths: Mapping[str, int]) -> list[Net]:
    """The nets below a layer; `columns` says where each of its spots is left."""
    starts = {spot: columns[spot] for spot in layout.layers[layer] if layout.below[spot]}
    owner = {column: spot for spot, column in starts.items()}
    ends: dict[Spot, dict[Spot, int]] = {spot: {} for spot in starts}
    for spot in layout.layers[layer + 1]:
        width = widths[spot[0]] if layout.is_box(spot) else PASSING + 2
        left = layout.column[spot] - width // 2
        arriving = sorted(layout.above[spot], key=starts.__getitem__)
        inside = range(left + 1, left + width - 1)
        for start, column in zip(arriving, _arrivals(arriving, starts, owner, inside), strict=True):
            ends[start][spot] = column
    rows = _rows({spot: (starts[spot], *ends[spot].values()) for spot in starts})
    return [Net(spot, starts[spot], ends[spot], rows.get(spot)) for spot in starts]


def _arrivals(
    arriving: Sequence[Spot], starts: Mapping[Spot, int], owner: Mapping[int, Spot], inside: range
) -> list[int]:
    """A column for each line into a box, left to right: none that another net's start stands in."""
    free = [column for column in inside if column not in owner]
    middle, number = inside[len(inside) // 2], len(arriving)
    spread = min(_SPREAD, max(1, (len(inside) - 1) // max(1, number - 1)))
    chosen: list[int] = []
    for i, spot in enumerate(arriving):
        own, left = starts[spot], number - i - 1
        usable = [column for column in free if not chosen or column > chosen[-1]]
        usable = usable[: len(usable) - left]
        if own in inside and (not chosen or own > chosen[-1]) and sum(c > own for c in free) >= left:
            usable.append(own)
        wanted = own if number == 1 and own in inside else middle + spread * (2 * i - number + 1) // 2
        chosen.append(min((abs(column - wanted), column) for column in usable)[1])
    return chosen


def _rows(nets: Mapping[Spot, tuple[int, ...]]) -> dict[Spot, int]:
    """A row for each net that does not run straight, from the columns it touches, its start first.

    Nets that lead left are laid from the left, those that lead right from the right: nested like this they
    hardly cross. Each takes the first row on which it has room.
    """
    taken: list[list[tuple[int, int]]] = []
    rows: dict[Spot, int] = {}
    bent = {spot: touched for spot, touched in nets.items() if min(touched) != max(touched)}
    for spot, touched in sorted(bent.items(), key=lambda one: _turn(one[1])):
        left, right = min(touched), max(touched)
        for row in count():
            if row == len(taken):
                taken.append([])
            if all(
                right < other_left - 1 or left > other_right + 1 for other_left, other_right in taken[row]
            ):
                taken[row].append((left, right))
                rows[spot] = row
                break
    return rows


def _turn(touched: tuple[int, ...]) -> tuple[bool, int]:
    start = touched[0]
    to_right = max(touched) - start >= start - min(touched)
    return to_right, -start if to_right else start
