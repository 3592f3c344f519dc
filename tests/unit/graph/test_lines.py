"""The lines of a text drawing, followed as a reader follows them, say what the steps need, no more."""

import random
from collections.abc import Iterator
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.graph import closure
from orchestrator.graph.layers import direct
from orchestrator.graph.sketch import Box, Order
from orchestrator.graph.text import draw_order

UP, RIGHT, DOWN, LEFT = (-1, 0), (0, 1), (1, 0), (0, -1)
WAYS: Final = {
    "│": (UP, DOWN),
    "─": (LEFT, RIGHT),
    "┌": (RIGHT, DOWN),
    "┐": (LEFT, DOWN),
    "└": (UP, RIGHT),
    "┘": (UP, LEFT),
    "├": (UP, DOWN, RIGHT),
    "┤": (UP, DOWN, LEFT),
    "┬": (LEFT, RIGHT, DOWN),
    "┴": (LEFT, RIGHT, UP),
    "┼": (UP, DOWN, LEFT, RIGHT),
}
Cell = tuple[int, int]


def order_of(seed: int) -> Order:
    """Some steps, each of which needs some of those before; without what follows from the rest."""
    chance = random.Random(seed)
    names = [f"s{i}" for i in range(chance.randint(1, 14))]
    needs: dict[str, set[str]] = {}
    for i, name in enumerate(names):
        near = names[max(0, i - chance.choice((3, 6, 12))) : i]
        needs[name] = {chance.choice(near) for _ in range(chance.randrange(5) if near else 0)}
    boxes = {name: Box(name, "action", ("x" * chance.randint(1, 9),)) for name in names}
    return Order(boxes, direct(closure({name: tuple(some) for name, some in needs.items()})))


@settings(max_examples=400)
@given(st.integers(0, 2**32))
def test_lines_lead_to_what_comes_after(seed: int) -> None:
    """From each box the lines lead to exactly those boxes that come after it."""
    order = order_of(seed)
    page = draw_order(order, width=10_000).splitlines()
    followed = {step: sorted(_reached(page, step)) for step in order.boxes}
    assert followed == {
        step: sorted(one for one, above in order.after.items() if step in above) for step in order.boxes
    }


@given(st.integers(0, 2**32), st.integers(20, 90))
def test_nothing_is_wider_than_allowed(seed: int, width: int) -> None:
    """A drawing that does not fit gives way to a list, and neither is wider than the page."""
    page = draw_order(order_of(seed), width=width).splitlines()
    assert max(map(len, page)) <= width


def _reached(page: list[str], step: str) -> Iterator[str]:
    """The steps under the arrows that the lines from a box lead to."""
    exits = _exit(page, step)
    seen: set[tuple[Cell, Cell]] = set()
    ahead = [(cell, DOWN) for cell in exits]
    while ahead:
        (row, column), way = ahead.pop()
        row, column = row + way[0], column + way[1]
        if ((row, column), way) in seen:
            continue
        seen.add(((row, column), way))
        char = page[row][column]
        if char == "▼":
            yield _name_below(page, row, column)
            continue
        ways = WAYS[char]
        if (-way[0], -way[1]) not in ways:  # a line that passes under one that leads down
            assert char == "│"
            ahead.append(((row, column), way))
        else:
            ahead += [((row, column), other) for other in ways if other != (-way[0], -way[1])]


def _exit(page: list[str], step: str) -> list[Cell]:
    """Where the line leaves the step's box, if there is one."""
    row, left = next((i, line.index(f"│ {step} ")) for i, line in enumerate(page) if f"│ {step} " in line)
    right = page[row].index("│", left + 1)
    bottom = next(i for i in range(row, len(page)) if page[i][left] == "└")
    return [(bottom, column) for column in range(left, right) if page[bottom][column] == "┬"]


def _name_below(page: list[str], row: int, column: int) -> str:
    """The step in whose upper edge an arrow ends."""
    left = page[row + 2].rindex("│", 0, column + 1)
    return page[row + 2][left + 1 :].split()[0]
