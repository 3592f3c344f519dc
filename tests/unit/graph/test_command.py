"""`baton graph` as it is called: where the drawing goes, what is wrong with a document, exit codes."""

import io
import json
import sys
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.document import read_workflow
from orchestrator.graph import draw_svg, draw_text, sketch_of

LINE = Path(__file__).parent / "drawings" / "line.yaml"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory of its own, and no terminal of some width."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without options the drawing goes to stdout, as text with lines."""
    assert main(["graph", str(LINE), "--width", "70"]) == 0
    sketch = sketch_of(read_workflow(LINE.read_bytes(), "line"))
    assert capsys.readouterr().out == draw_text(sketch, width=70) + "\n"


def test_a_file_is_written(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `-o` the drawing goes to the file and nothing is printed."""
    assert main(["graph", str(LINE), "--format", "svg", "-o", "drawn.svg"]) == 0
    sketch = sketch_of(read_workflow(LINE.read_bytes(), "line"))
    assert (elsewhere / "drawn.svg").read_text(encoding="utf-8") == draw_svg(sketch) + "\n"
    assert capsys.readouterr().out == ""


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` gives nodes, edges and layers."""
    assert main(["graph", str(LINE), "--json"]) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert drawn["layers"] == [["fetch"], ["check"], ["switch"]]
    assert drawn["undo"]["layers"] == [["switch"], ["fetch"]]
    assert [node["id"] for node in drawn["nodes"]] == ["fetch", "check", "switch"]


def test_an_output_without_the_characters_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stdout cannot take lines, the drawing is made of plain characters, and nothing fails."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["graph", str(LINE)]) == 0
    assert b"| fetch " in raw.getvalue()


def test_mistakes_are_told_as_check_tells_them(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a line with its place, on stderr since stdout is for the drawing; the exit code is 1."""
    (elsewhere / "bad.yaml").write_text("workflow: bad\nsteps:\n  - id: a\n    target: x\n    foo: 1\n")
    assert main(["check", "bad.yaml"]) == 1
    told = capsys.readouterr().out
    assert main(["graph", "bad.yaml", "-o", "drawn.txt"]) == 1
    drawn = capsys.readouterr()
    assert (drawn.out, drawn.err) == ("", told)
    assert not (elsewhere / "drawn.txt").exists()
    assert main(["graph", "bad.yaml", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "invalid_workflow"
    assert len(error["details"]) == len(told.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ["graph"],
        ["graph", "no-such-file.yaml"],
        ["graph", "."],
        ["graph", str(LINE), "--format", "png"],
        ["graph", str(LINE), "--width", "3"],
        ["graph", str(LINE), "-o", "no/such/directory"],
    ],
)
def test_a_senseless_command_line_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, and stderr says why, without a traceback."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err
    assert "Traceback" not in printed.err
