"""One order of steps as SVG elements: boxes in layers, and the lines between them."""

from collections.abc import Iterator
from html import escape
from typing import Final

from rich.cells import cell_len

from orchestrator.graph.frames import frames, widths_of
from orchestrator.graph.layout import Layout, Spot, lay_out
from orchestrator.graph.look import ICONS
from orchestrator.graph.sketch import Order

__all__ = ["CELL", "LINE", "Panel", "text_element"]

# In pixels. At a font size of 13 a character is about 7.8 wide in the usual monospaced fonts.
CELL: Final = 7.9
LINE: Final = 18
_PAD: Final = 9
_BAND: Final = 22
_BAND_CELLS: Final = 2
_GAP: Final = 44
_RULE: Final = 34
_PORT: Final = 16
"""Between the ends of lines in the same box, where there is room."""
_ROOM: Final = 36
"""Cells of text in a line of a box."""


def text_element(x: float, y: float, text: str, name: str) -> str:
    """A line of text with its base at a point."""
    return f'<text class="{name}" x="{_number(x)}" y="{_number(y)}">{escape(text)}</text>'


class Panel:
    """An order under its title; `width` and `height` in pixels."""

    def __init__(self, title: str, order: Order, pivot: str | None, *, undo: bool) -> None:
        self.title = title
        self.order = order
        self.past = f"past {pivot} nothing is undone" if pivot else ""
        self.undo = undo
        self.boxes = frames(order, _ROOM)
        self.layout = lay_out(
            order, {step: width + _BAND_CELLS for step, width in widths_of(self.boxes).items()}
        )
        self.tops, self.bottoms, self.rule = _rows(self.layout, self._heights(), has_rule=bool(pivot))
        self.width = round(max(self.layout.width, cell_len(title), cell_len(self.past)) * CELL)
        self.height = max(self.bottoms[-1], self.rule)

    def draw(self, x: int, y: int) -> str:
        """The panel with its corner at a point: lines first, boxes over them."""
        parts = [f'<g class="{"undo" if self.undo else "forward"}" transform="translate({x} {y})">']
        parts.append(text_element(0, LINE - 5, self.title, "title"))
        if self.rule:
            parts.append(f'<path class="rule" d="M0 {self.rule}H{self.width}"/>')
            parts.append(text_element(0, self.rule - 7, self.past, "past"))
        parts += self._nets()
        parts += (self._box(step) for step in self.order.boxes)
        return "\n".join([*parts, "</g>"])

    def _heights(self) -> list[int]:
        return [
            max(len(self.boxes[step].lines) for step, number in layer if self.layout.own[step] == number)
            * LINE
            + _PAD
            for layer in self.layout.layers
        ]

    def _box(self, step: str) -> str:
        """A box, its mark and its text; pointing at it shows all of the text."""
        box, frame = self.order.boxes[step], self.boxes[step]
        spot = step, self.layout.own[step]
        width, height = (frame.width + _BAND_CELLS) * CELL, self._height(step)
        x, y = self._x(spot) - width / 2, self.tops[spot[1]]
        inner = f'x="{_number(x + _BAND - 4)}" y="{y}" width="{_number(width - _BAND + 4)}"'
        icon = f'transform="translate({_number(x + (_BAND - 4) / 2)} {_number(y + height / 2)})"'
        parts = [
            f'<g class="{box.kind}{" pivot" if box.pivot else ""}">',
            f"<title>{escape(chr(10).join((step, *box.lines)))}</title>",
            f'<rect class="band" x="{_number(x)}" y="{y}" width="{_BAND}" height="{height}" rx="4"/>',
            f'<rect class="box" {inner} height="{height}" rx="4"/>',
            f'<path class="icon" {icon} d="{ICONS[box.kind]}"/>',
        ]
        for i, line in enumerate(frame.lines, 1):
            parts.append(text_element(x + _BAND + 6, y + i * LINE - 1, line, "line" if i > 1 else "id"))
        return "".join([*parts, "</g>"])

    def _nets(self) -> Iterator[str]:
        """The lines that leave each box, together, with their meaning in words."""
        ports = self._ports()
        tip = "tip-undo" if self.undo else "tip"
        waiting: dict[str, list[str]] = {}
        for step, above in self.order.after.items():
            for other in above:
                waiting.setdefault(other, []).append(step)
        for step, following in waiting.items():
            paths: list[str] = []
            spot = step, self.layout.own[step]
            while spot in self.layout.below:
                paths += (self._line(spot, end, ports, tip) for end in self.layout.below[spot])
                spot = step, spot[1] + 1
            meaning = f"{'undo ' if self.undo else ''}{step}, then {', '.join(following)}"
            yield "".join(["<g>", f"<title>{escape(meaning)}</title>", *paths, "</g>"])

    def _line(self, spot: Spot, end: Spot, ports: dict[tuple[Spot, Spot], float], tip: str) -> str:
        """From a spot down into the next layer; past the next layer when the line only passes it."""
        x, other = self._x(spot), ports[spot, end]
        start = (
            self.tops[spot[1]] + self._height(spot[0]) if self.layout.is_box(spot) else self.bottoms[spot[1]]
        )
        bottom, top = self.bottoms[spot[1]], self.tops[end[1]]
        middle = _number((bottom + top) / 2)
        path = f"M{_number(x)} {start}" + (f"V{bottom}" if bottom != start else "")
        path += f"C{_number(x)} {middle} {_number(other)} {middle} {_number(other)} {top}"
        if self.layout.is_box(end):
            return f'<path class="net" marker-end="url(#baton-{tip})" d="{path}"/>'
        return f'<path class="net" d="{path}V{self.bottoms[end[1]]}"/>'

    def _ports(self) -> dict[tuple[Spot, Spot], float]:
        """Where each line ends: side by side along the upper edge of a box, in the order they come from."""
        ports = {}
        for end, starts in self.layout.above.items():
            arriving = sorted(starts, key=self._x)
            width = (self.boxes[end[0]].width + _BAND_CELLS) * CELL
            apart = min(_PORT, width / (len(arriving) + 1))
            for i, start in enumerate(arriving):
                ports[start, end] = self._x(end) + (i - (len(arriving) - 1) / 2) * apart
        return ports

    def _height(self, step: str) -> int:
        return len(self.boxes[step].lines) * LINE + _PAD

    def _x(self, spot: Spot) -> float:
        return (self.layout.column[spot] + 0.5) * CELL


def _rows(layout: Layout, heights: list[int], *, has_rule: bool) -> tuple[list[int], list[int], int]:
    """Where each layer begins and ends, and the rule that the pivot draws (0 when there is none)."""
    tops: list[int] = []
    bottoms: list[int] = []
    at, rule = LINE + _PAD, 0
    for number, (layer, height) in enumerate(zip(layout.layers, heights, strict=True), 1):
        tops.append(at)
        at += height
        bottoms.append(at)
        if has_rule and number == (layout.cut or len(layout.layers)):
            at += _RULE
            rule = at
        reach = [
            abs(layout.column[spot] - layout.column[end]) for spot in layer for end in layout.below[spot]
        ]
        at += _GAP + min(2 * _GAP, round(max(reach, default=0) * CELL / 12))  # wide lines need some slope
    return tops, bottoms, rule


def _number(value: float) -> str:
    """At most one decimal: no difference anyone sees, the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")
