"""A workflow drawn with characters, for a terminal."""

from collections.abc import Mapping
from typing import Final

from orchestrator.graph.canvas import Canvas, Style
from orchestrator.graph.frames import Frame, cut, frames, widths_of
from orchestrator.graph.layers import layers_of
from orchestrator.graph.layout import Layout, Spot, lay_out
from orchestrator.graph.routing import Net, route
from orchestrator.graph.sketch import Order, Sketch

__all__ = ["draw_text"]

_ROOM: Final = (34, 26, 18)
"""Cells of text in a line of a box; the first with which the drawing fits is taken."""
_UP, _DOWN = 1, 4


def draw_text(sketch: Sketch, *, width: int, ascii_only: bool = False) -> str:
    """The whole drawing. An order that does not fit into `width` cells is a list of steps instead."""
    lines = [f"{sketch.definition.name}, version {sketch.definition.version[:12]}", *sketch.about]
    blocks = ["\n".join(cut(line, width, ascii_only=ascii_only) for line in lines)]
    page = _Page(width, ascii_only=ascii_only)
    blocks.append(page.draw(sketch.forward, "solid", sketch.pivot))
    if sketch.undo.boxes:
        before = f" before {sketch.pivot} is done" if sketch.pivot else ""
        blocks += [f"Undo, when a step fails{before}:", page.draw(sketch.undo, "dashed", None)]
        if sketch.kept:
            blocks.append(cut(f"Without an undo: {', '.join(sketch.kept)}", width, ascii_only=ascii_only))
    else:
        blocks.append("No step has an undo.")
    return "\n\n".join(blocks)


class _Page:
    """How wide drawings may be, and of which characters they are."""

    def __init__(self, width: int, *, ascii_only: bool) -> None:
        self.width = width
        self.ascii = ascii_only

    def draw(self, order: Order, style: Style, pivot: str | None) -> str:
        """Boxes as wide as there is room for, or a list where there is none."""
        layers = layers_of(order.after, order.last)
        for room in _ROOM:
            boxes = frames(order, room, ascii_only=self.ascii)
            widths = {
                step: max(width, 2 * len(order.after[step]) + 3) for step, width in widths_of(boxes).items()
            }
            if max(sum(widths[step] + 1 for step in layer) for layer in layers) > self.width:
                continue
            layout = lay_out(order, widths)
            if layout.width <= self.width:
                return _Picture(order, layout, boxes, widths, style).draw(pivot, ascii_only=self.ascii)
        return self._list(order, layers, pivot)

    def _list(self, order: Order, layers: list[list[str]], pivot: str | None) -> str:
        """A line for each step: its layer, what it comes after, and as much else as fits."""
        lines = []
        for number, layer in enumerate(layers, 1):
            for step in layer:
                above = order.after[step]
                after = [f"after {', '.join(above)}"] if above else []
                lines.append(f"{number:>3} {step}: {'; '.join([*after, *order.boxes[step].lines])}")
            following = layers[number] if number < len(layers) else None
            if pivot and order.last.isdisjoint(layer) and (following is None or following[0] in order.last):
                lines.append(f"    == {_past(pivot)} ==")
        return "\n".join(cut(line, self.width, ascii_only=self.ascii) for line in lines)


def _past(pivot: str) -> str:
    return f"past {pivot} nothing is undone"


class _Picture:
    """One order, drawn from the top down."""

    def __init__(
        self,
        order: Order,
        layout: Layout,
        boxes: Mapping[str, Frame],
        widths: Mapping[str, int],
        style: Style,
    ) -> None:
        self.order = order
        self.layout = layout
        self.boxes = boxes
        self.widths = widths
        self.style = style
        self.exits: dict[Spot, int] = dict(layout.column)  # where a spot is left; a trunk may step aside

    def draw(self, pivot: str | None, *, ascii_only: bool) -> str:
        """All layers, with the lines between them; under what can be undone a rule names the pivot."""
        self.canvas = Canvas(ascii_only=ascii_only)
        row = 0
        for number, layer in enumerate(self.layout.layers, 1):
            row = self._layer(row, layer)
            if pivot and number == (self.layout.cut or len(self.layout.layers)):
                self._down(layer, row, row)
                self.canvas.rule(row, self.layout.width, _past(pivot))
                row += 1
            if number < len(self.layout.layers):
                nets = route(self.layout, number - 1, self.exits, self.widths)
                row = self._nets(row, nets)
        return self.canvas.text()

    def _layer(self, row: int, layer: list[Spot]) -> int:
        """Boxes side by side, and the trunks that pass them; gives the row below."""
        boxes = [spot for spot in layer if self.layout.is_box(spot)]
        bottom = row + max(self.boxes[step].height for step, _ in boxes)
        for spot in boxes:
            below = self._box(row, spot)
            self._down([spot], below, bottom - 1)
        self._down([spot for spot in layer if not self.layout.is_box(spot)], row, bottom - 1)
        return bottom

    def _box(self, row: int, spot: Spot) -> int:
        """One box; gives the row below it."""
        step, _ = spot
        frame, width = self.boxes[step], self.widths[step]
        left = self.layout.column[spot] - width // 2
        style: Style = "double" if self.order.boxes[step].pivot else self.style
        self.canvas.box(row, left, (width, frame.height), style)
        for i, line in enumerate(frame.lines, 1):
            self.canvas.put(row + i, left + 2, line)
        if self.layout.below[spot]:
            self.canvas.leave(row + frame.height - 1, self.layout.column[spot], style)
        return row + frame.height

    def _down(self, spots: list[Spot], top: int, bottom: int) -> None:
        for spot in spots:
            if self.layout.below[spot]:
                self.canvas.down(spot[0], self.exits[spot], top, bottom, self.style)

    def _nets(self, top: int, nets: list[Net]) -> int:
        """The lines between two layers; gives the row below them."""
        bottom = top + max((net.row + 1 for net in nets if net.row is not None), default=1)
        for net in nets:
            step = net.start[0]
            turn = bottom if net.row is None else top + net.row
            self.canvas.down(step, net.column, top, turn - 1, self.style)
            if net.row is not None:
                turns = {net.column: _UP}
                for column in net.ends.values():
                    turns[column] = turns.get(column, 0) | _DOWN
                self.canvas.across(step, turn, turns, self.style)
            for spot, column in net.ends.items():
                self.canvas.down(step, column, turn + 1, bottom, self.style)
                self.exits[spot] = column
                if self.layout.is_box(spot):
                    self.exits[spot] = self.layout.column[spot]
                    self.canvas.arrow(bottom, column)
        return bottom + 1
