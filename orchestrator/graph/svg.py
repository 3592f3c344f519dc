"""A workflow drawn as SVG: one file without references, readable on light and on dark."""

from html import escape
from typing import Final

from rich.cells import cell_len

from orchestrator.graph.frames import cut
from orchestrator.graph.layers import layers_of
from orchestrator.graph.look import MARKERS, STYLE
from orchestrator.graph.panel import CELL, LINE, Panel, text_element
from orchestrator.graph.sketch import Order, Sketch

__all__ = ["draw_svg"]

_HEAD_ROOM: Final = 110
"""Cells of text in a line above the drawing."""
_MAX_TOLD: Final = 2_000
"""Characters of the description for those who cannot see the drawing."""
_MARGIN: Final = 24
_BESIDE: Final = 1_400
"""Up to this width, in pixels, the undo stands beside the way forward, else below it."""


def draw_svg(sketch: Sketch) -> str:
    """The whole drawing, as the text of an SVG file."""
    head = [(name, cut(line, _HEAD_ROOM)) for name, line in _head(sketch)]
    panels = [Panel("Forward", sketch.forward, sketch.pivot, undo=False)]
    if sketch.undo.boxes:
        before = f" before {sketch.pivot} is done" if sketch.pivot else ""
        panels.append(Panel(f"Undo, when a step fails{before}", sketch.undo, None, undo=True))
    beside = sum(panel.width + _MARGIN for panel in panels) <= _BESIDE
    parts = [text_element(_MARGIN, _MARGIN + LINE * i + 9, line, name) for i, (name, line) in enumerate(head)]
    x, y = _MARGIN, _MARGIN + LINE * (len(head) + 1)
    width, height = max(round(cell_len(line) * CELL) for _, line in head) + _MARGIN, y
    for panel in panels:
        parts.append(panel.draw(x, y))
        width, height = max(width, x + panel.width), max(height, y + panel.height)
        x, y = (x + panel.width + 2 * _MARGIN, y) if beside else (x, y + panel.height + 2 * _MARGIN)
    return _page(sketch, parts, width + _MARGIN, height + _MARGIN)


def _page(sketch: Sketch, parts: list[str], width: int, height: int) -> str:
    """The file around its parts."""
    size = f'width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="baton" {size} viewBox="0 0 {width} {height}"',
            'role="img" aria-labelledby="baton-title baton-desc">',
            f'<title id="baton-title">Workflow {escape(sketch.definition.name)}</title>',
            f'<desc id="baton-desc">{escape(_told(sketch))}</desc>',
            f"<style>{STYLE}</style>",
            f"<defs>{MARKERS}</defs>",
            f'<rect class="page" {size}/>',
            *parts,
            "</svg>",
        ]
    )


def _head(sketch: Sketch) -> list[tuple[str, str]]:
    """The lines above the drawing, each after its class."""
    lines = [("name", f"{sketch.definition.name}, version {sketch.definition.version[:12]}")]
    lines += [("said", line) for line in sketch.about]
    if not sketch.undo.boxes:
        lines.append(("said", "No step has an undo."))
    elif sketch.kept:
        lines.append(("said", f"Without an undo: {', '.join(sketch.kept)}"))
    return lines


def _told(sketch: Sketch) -> str:
    """The drawing in words."""
    told = f"Steps in order: {_in_words(sketch.forward)}. "
    if sketch.pivot:
        told += f"Past {sketch.pivot} nothing is undone. "
    told += f"Undone in order: {_in_words(sketch.undo)}." if sketch.undo.boxes else "No step has an undo."
    return cut(told, _MAX_TOLD)


def _in_words(order: Order) -> str:
    return "; then ".join(", ".join(layer) for layer in layers_of(order.after, order.last))
