"""The SVG as a file: well-formed whatever the document says, self-contained, and readable without eyes."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from orchestrator.document import read_workflow
from orchestrator.graph import draw_svg, sketch_of

DOCUMENTS = sorted((Path(__file__).parent / "drawings").glob("*.yaml"))
SVG = "{http://www.w3.org/2000/svg}"
EVERY = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)


def root_of(document: Path) -> ET.Element:
    """The drawing of a document, parsed."""
    return ET.fromstring(draw_svg(sketch_of(read_workflow(document.read_bytes(), document.name))))


@EVERY
def test_it_is_an_image_with_a_name_and_a_description(document: Path) -> None:
    """Who cannot see it is told what it shows."""
    root = root_of(document)
    title, desc = root[0], root[1]
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text is not None
    assert title.text.startswith("Workflow ")
    assert desc.text is not None
    assert desc.text.startswith("Steps in order: ")


@EVERY
def test_it_refers_to_nothing_outside(document: Path) -> None:
    """It has no script, link, image or font from elsewhere, and no attribute that a browser would run."""
    root = root_of(document)
    names = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert names <= {"svg", "title", "desc", "style", "defs", "marker", "path", "rect", "g", "text"}
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert "href" not in name
            assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", value))
    style = root.find(f"{SVG}style")
    assert style is not None
    assert style.text is not None
    assert "url(" not in style.text
    assert "@import" not in style.text
    assert "prefers-color-scheme:dark" in style.text


@EVERY
def test_every_step_has_its_box_and_every_need_its_arrow(document: Path) -> None:
    """Boxes and arrows are those of the sketch, the undo's dashed by their group's class."""
    sketch = sketch_of(read_workflow(document.read_bytes(), document.name))
    root = root_of(document)
    groups = [("forward", sketch.forward, "tip")] + (
        [("undo", sketch.undo, "tip-undo")] if sketch.undo.boxes else []
    )
    for name, order, tip in groups:
        group = root.find(f"{SVG}g[@class='{name}']")
        assert group is not None
        assert len(group.findall(f".//{SVG}rect[@class='box']")) == len(order.boxes)
        arrows = group.findall(f".//{SVG}path[@marker-end='url(#baton-{tip})']")
        assert len(arrows) == sum(map(len, order.after.values()))


@EVERY
def test_it_all_lies_on_the_page(document: Path) -> None:
    """No box reaches over the edge."""
    root = root_of(document)
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for group in root.findall(f"{SVG}g"):
        x, y = map(float, re.findall(r"-?[\d.]+", group.get("transform", "")))
        for box in group.findall(f".//{SVG}rect"):
            left, top = x + float(box.get("x", "0")), y + float(box.get("y", "0"))
            assert 0 < left < left + float(box.get("width", "0")) < width
            assert 0 < top < top + float(box.get("height", "0")) < height
