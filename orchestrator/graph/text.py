"""A workflow drawn with characters, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Final

from orchestrator.graph.canvas import Canvas, Style
from orchestrator.graph.frames import Frame, cut, frames, widths_of
from orchestrator.graph.layers import layers_of
from orchestrator.graph.layout import Layout, Spot, lay_out
from orchestrator.graph.routing import Net, route
from orchestrator.graph.sketch import Order, Sketch

__all__ = ["draw_order", "draw_text"]

_ROOM: Final = (34, 26, 18)
"""Cells of text in a line of a box; the first with which the drawing fits is taken."""
_UP, _DOWN = 1, 4


def draw_text(sketch: Sketch, *, width: int, ascii_only: bool = False) -> str:
    """The whole drawing. An order that does not fit into `width` cells is a list of steps instead."""
    lines = [f"{sketch.definition.name}, version {sketch.definition.version[:12]}", *sketch.about]
    blocks = ["\n".join(cut(line, width, ascii_only=ascii_only) for line in lines)]
    blocks.append(draw_order(sketch.forward, width=width, pivot=sketch.pivot, ascii_only=ascii_only))
    if sketch.undo.boxes:
        before = f" before {sketch.pivot} is done" if sketch.pivot else ""
        drawn = draw_order(sketch.undo, width=width, style="dashed", ascii_only=ascii_only)
        blocks += [cut(f"Undo, when a step fails{before}:", width, ascii_only=ascii_only), drawn]
        if sketch.kept:
            blocks.append(cut(f"Without an undo: {', '.join(sketch.kept)}", width, ascii_only=ascii_only))
    else:
        blocks.append("No step has an undo.")
    return "\n\n".join(blocks)


def draw_order(
    order: Order, *, width: int, style: Style = "solid", pivot: str | None = None, ascii_only: bool = False
) -> str:
    """One order: boxes as wide as there is room for, or a list of steps where there is none."""
    layers = layers_of(order.after, order.last)
    for room in _ROOM:
        boxes = frames(order, room, ascii_only=ascii_only)
        widths = {
            step: max(cells, 2 * len(order.after[step]) + 3) for step, cells in widths_of(boxes).items()
        }
        if max(sum(widths[step] + 1 for step in layer) for layer in layers) > width + 1:
            continue
        layout = lay_out(order, widths)
        if layout.width <= width:
            room_beside = width - layout.width - 1
            rule = None if pivot is None else cut(_past(pivot), room_beside, ascii_only=ascii_only)
            return _Picture(order, layout, boxes, widths, style).draw(rule, ascii_only=ascii_only)
    return "\n".join(cut(line, width, ascii_only=ascii_only) for line in _listed(order, layers, pivot))


def _listed(order: Order, layers: list[list[str]], pivot: str | None) -> Iterator[str]:
    """A line for each step: its layer, what it comes after, and what else there is to say."""
    upper = sum(order.last.isdisjoint(layer) for layer in layers)
    for number, layer in enumerate(layers, 1):
        for step in layer:
            above = order.after[step]
            after = [f"after {', '.join(above)}"] if above else []
            yield f"{number:>3} {step}: {'; '.join([*after, *order.boxes[step].lines])}"
        if pivot and number == upper:
            yield f"    == {_past(pivot)} =="


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

    def draw(self, rule: str | None, *, ascii_only: bool) -> str:
        """All layers, with the lines between them; under what can be undone a rule, if it has a text."""
        self.canvas = Canvas(ascii_only=ascii_only)
        row = 0
        for number, layer in enumerate(self.layout.layers, 1):
            row = self._layer(row, layer)
            if rule is not None and number == (self.layout.cut or len(self.layout.layers)):
                self._down(layer, row, row)
                self.canvas.rule(row, self.layout.width, rule)
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
            self._net(top, bottom, net)
            for spot, column in net.ends.items():
                self.exits[spot] = column
                if self.layout.is_box(spot):
                    self.exits[spot] = self.layout.column[spot]
                    self.canvas.arrow(bottom, column)
        return bottom + 1

    def _net(self, top: int, bottom: int, net: Net) -> None:
        """The lines from one spot, from row `top` to row `bottom`."""
        step = net.start[0]
        if net.row is None:
            self.canvas.down(step, net.column, top, bottom, self.style)
            return
        turn = top + net.row
        turns = {net.column: _UP}
        self.canvas.down(step, net.column, top, turn - 1, self.style)
        for column in net.ends.values():
            turns[column] = turns.get(column, 0) | _DOWN
            self.canvas.down(step, column, turn + 1, bottom, self.style)
        self.canvas.across(step, turn, turns, self.style)
