"""Where things stand: layers, places in them, columns; and what a drawing of the largest documents costs."""

import time
from itertools import pairwise

import pytest

from orchestrator.core.graph import closure
from orchestrator.graph.frames import frames, widths_of
from orchestrator.graph.layers import direct, layers_of
from orchestrator.graph.layout import PASSING, lay_out
from orchestrator.graph.panel import Panel
from orchestrator.graph.sketch import Box, Order
from orchestrator.graph.text import draw_order
from schemas.workflow import MAX_STEPS

SECONDS = 30
"""Far more than it takes (below 6 s on the slowest machine tried), far less than for ever."""


def order_of(after: dict[str, list[str]]) -> Order:
    """An order with a box for each node; what follows from the rest is left out."""
    boxes = {step: Box(step, "action", (f"action do.{step}",)) for step in after}
    return Order(boxes, direct(closure(after)))


def test_a_step_stands_below_all_it_needs() -> None:
    """Layers are as few as can be, and each keeps the order of the document."""
    after = {"a": (), "b": ("a",), "c": (), "d": ("b", "c"), "e": ("c",)}
    assert layers_of(after) == [["a", "c"], ["b", "e"], ["d"]]


def test_what_comes_last_stands_below_everything_else() -> None:
    """Past the pivot's layer nothing stands that can still be undone, and the order among the last holds."""
    after = {"pivot": (), "past": ("pivot",), "further": ("past",), "a": (), "b": ("a",), "c": ("b",)}
    layers = layers_of(after, {"past", "further"})
    assert layers == [["pivot", "a"], ["b"], ["c"], ["past"], ["further"]]


def test_what_follows_from_the_rest_is_left_out() -> None:
    """A need that another need brings with it gets no line of its own."""
    assert order_of({"a": [], "b": ["a"], "c": ["a", "b"], "d": ["a", "c"]}).after == {
        "a": (),
        "b": ("a",),
        "c": ("b",),
        "d": ("c",),
    }


def test_lines_that_need_not_cross_do_not() -> None:
    """Chains written in each other's way are drawn side by side."""
    order = order_of({"a": [], "b": [], "y": ["b"], "x": ["a"], "q": ["y"], "p": ["x"]})
    layout = lay_out(order, dict.fromkeys(order.boxes, 9))
    names = [[step for step, _ in layer] for layer in layout.layers]
    assert names in ([["a", "b"], ["x", "y"], ["p", "q"]], [["b", "a"], ["y", "x"], ["q", "p"]])


def test_nothing_stands_in_anothers_place() -> None:
    """Boxes and passing lines of a layer keep their distance."""
    order = order_of({f"s{i}": [f"s{j}" for j in range(i) if (i * j) % 7 == 3] for i in range(60)})
    widths = widths_of(frames(order, 20))
    layout = lay_out(order, widths)
    width = {spot: widths[spot[0]] if layout.is_box(spot) else PASSING for spot in layout.column}
    for layer in layout.layers:
        for left, right in pairwise(layer):
            apart = layout.column[right] - layout.column[left]
            assert apart > (width[left] + width[right]) // 2
    assert min(layout.column[spot] - width[spot] // 2 for spot in layout.column) == 0
    assert max(layout.column[spot] + width[spot] // 2 for spot in layout.column) == layout.width - 1


def test_a_line_of_steps_is_straight() -> None:
    """Steps that follow each other stand in one column, however wide they are."""
    order = order_of({"a": [], "b": ["a"], "c": ["b"]})
    assert len(set(lay_out(order, {"a": 9, "b": 31, "c": 5}).column.values())) == 1


THIRD, HALF = MAX_STEPS // 3, MAX_STEPS // 2
LARGE = {
    "line": {f"s{i}": [f"s{i - 1}"] if i else [] for i in range(MAX_STEPS)},
    "fan": {"s": [], **{f"w{i}": ["s"] for i in range(MAX_STEPS - 1)}},
    "all that need all": {f"s{i}": [f"s{j}" for j in range(i)] for i in range(THIRD)},
    "two halves": {
        **{f"x{i}": [] for i in range(HALF)},
        **{f"y{i}": [f"x{j}" for j in range(0, HALF, 3)] for i in range(HALF)},
    },
    "long ways": {
        **{f"x{i}": [] for i in range(HALF)},
        **{f"c{i}": ([f"c{i - 1}"] if i else []) + [f"x{i}"] for i in range(HALF)},
    },
}


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_documents_are_drawn_in_bounded_time(name: str) -> None:
    """As many steps as a document may have, in the shapes with the most lines, take seconds."""
    begun = time.monotonic()
    order = order_of(LARGE[name])
    text = draw_order(order, width=100)
    svg = Panel("Forward", order, None, undo=False).draw(0, 0)
    assert time.monotonic() - begun < SECONDS
    assert all(step in text for step in order.boxes)
    assert svg.count('class="box"') == len(order.boxes)
