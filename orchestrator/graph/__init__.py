"""Drawings of workflows: the order of the steps and of their undos, as text, SVG and JSON."""

from orchestrator.graph.sketch import Sketch, sketch_of
from orchestrator.graph.svg import draw_svg
from orchestrator.graph.text import draw_text

__all__ = ["Sketch", "draw_svg", "draw_text", "sketch_of"]
