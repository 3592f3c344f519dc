"""Boxes with their text cut to size, in character cells."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from orchestrator.graph.sketch import Order

__all__ = ["Frame", "cut", "frames", "widths_of"]

_EDGES = 4
"""A border and a space, on both sides."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands in a box, the step's id first, and how wide it is with its borders; always odd."""

    lines: tuple[str, ...]
    width: int

    @property
    def height(self) -> int:
        """Rows, with its borders."""
        return len(self.lines) + 2


def frames(order: Order, room: int, *, ascii_only: bool = False) -> dict[str, Frame]:
    """The boxes of an order, with at most `room` cells of text in a line."""
    found = {}
    for step, box in order.boxes.items():
        lines = [_cut_middle(step, room, "~" if ascii_only else "…")]
        lines += (cut(line, room, ascii_only=ascii_only) for line in box.lines)
        found[step] = Frame(tuple(lines), (max(map(cell_len, lines)) + _EDGES) | 1)
    return found


def widths_of(boxes: Mapping[str, Frame]) -> dict[str, int]:
    """How wide each box is."""
    return {step: frame.width for step, frame in boxes.items()}


def cut(text: str, width: int, *, ascii_only: bool = False) -> str:
    """The text in at most so many cells; an ellipsis says that its end is missing."""
    if ascii_only:
        text = text.encode("ascii", "backslashreplace").decode()
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    return set_cell_size(text, width - 1).rstrip() + ("~" if ascii_only else "…")


def _cut_middle(step: str, width: int, ellipsis: str) -> str:
    """The same for an id, which is ASCII; its middle goes, since ids often differ at their end."""
    if len(step) <= width:
        return step
    tail = (width - 1) // 2
    return f"{step[: width - 1 - tail]}{ellipsis}{step[len(step) - tail :]}"
