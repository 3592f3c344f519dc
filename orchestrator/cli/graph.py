"""`baton graph`."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from orchestrator.cli.output import json_text, printable, say
from orchestrator.cli.remote import Json, UsageError

__all__ = ["graph"]

_WIDTH: Final = 100
"""Columns of a text that goes elsewhere than to a terminal."""


def graph(
    file: Annotated[Path, Parameter(help="a workflow document, YAML or JSON")],
    /,
    *,
    format_: Annotated[Literal["text", "svg"], Parameter(name="--format", help="text or svg")] = "text",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help="write to this file")] = None,
    ascii_only: Annotated[bool, Parameter(name="--ascii", negative="", help="text of plain ASCII")] = False,
    width: Annotated[
        int | None, Parameter(validator=Number(gte=40), help="columns for text; the terminal's")
    ] = None,
    json: Json = False,
) -> int:
    """Draw a workflow: the order of its steps, and the order in which they are undone."""
    from orchestrator.document import InvalidDocument, read_workflow
    from orchestrator.graph import draw_svg, draw_text, sketch_of

    try:
        sketch = sketch_of(read_workflow(_read(file), str(file)))
    except InvalidDocument as error:
        if json:
            raise
        sys.stderr.writelines(f"{printable(str(one))}\n" for one in error.diagnostics)
        return 1
    if json:
        drawn = json_text(sketch.as_json())
    elif format_ == "svg":
        drawn = draw_svg(sketch)
    else:
        columns = width or shutil.get_terminal_size((_WIDTH, 0)).columns
        plain = ascii_only or (output is None and not _shows_lines())
        drawn = draw_text(sketch, width=columns, ascii_only=plain)
    if output is None:
        say(drawn)
    else:
        _write(output, f"{drawn}\n")
    return 0


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", hint="name a workflow document") from None


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "name a file in a directory that you may write to"
        raise UsageError(f"cannot write {file}: {error.strerror}", hint=hint) from None


def _shows_lines() -> bool:
    """Whether the output's encoding has the characters that boxes are drawn with."""
    try:
        "┌╎╌═▼…".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
