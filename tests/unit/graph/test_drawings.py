"""Whole drawings, kept as files beside their documents.

`UPDATE_DRAWINGS=1 ./run test tests/unit/graph` writes them anew.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from orchestrator.document import read_workflow
from orchestrator.graph import Sketch, draw_svg, draw_text, sketch_of

DRAWINGS: Final = Path(__file__).parent / "drawings"
ROOT: Final = Path(__file__).parents[3]
DOCUMENTS: Final = sorted(DRAWINGS.glob("*.yaml"))
UPDATE: Final = "UPDATE_DRAWINGS" in os.environ

FORMATS: Final[dict[str, Callable[[Sketch], str]]] = {
    ".txt": lambda sketch: draw_text(sketch, width=100) + "\n",
    ".narrow.txt": lambda sketch: draw_text(sketch, width=60) + "\n",
    ".ascii.txt": lambda sketch: draw_text(sketch, width=100, ascii_only=True) + "\n",
    ".svg": lambda sketch: draw_svg(sketch) + "\n",
    ".json": lambda sketch: json.dumps(sketch.as_json(), indent=2, ensure_ascii=False) + "\n",
}


def sketch(document: Path) -> Sketch:
    """The sketch of a document in a file."""
    return sketch_of(read_workflow(document.read_bytes(), document.name))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_a_drawing_is_as_it_was(document: Path, suffix: str) -> None:
    """A drawing changes only when somebody means it to; then its file changes with it."""
    kept = document.with_suffix(suffix)
    drawn = FORMATS[suffix](sketch(document))
    if UPDATE:
        kept.write_text(drawn, encoding="utf-8")
    assert drawn == kept.read_text(encoding="utf-8")


def test_every_kept_drawing_has_its_document() -> None:
    """No file is left over from a document or a format that is gone."""
    expected = {document.with_suffix(suffix) for document in DOCUMENTS for suffix in [*FORMATS, ".yaml"]}
    assert set(DRAWINGS.iterdir()) == expected


@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_drawing_does_not_hang_on_hashes(seed: str) -> None:
    """Another process with other hashes of text draws the same."""
    document = DRAWINGS / "wide.yaml"
    command = [sys.executable, "-m", "orchestrator.cli", "graph", str(document), "--format", "svg"]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    drawn = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environment, timeout=60)
    assert drawn.stdout.decode() == draw_svg(sketch(document)) + "\n"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_plain_ascii_is_that(document: Path) -> None:
    """With `--ascii` no other character is printed, whatever the document says, and no line is wider."""
    drawn = draw_text(sketch(document), width=100, ascii_only=True)
    assert drawn.isascii()
    assert max(map(len, drawn.splitlines())) <= 100
