"""`baton test`: exit codes, what is played, and what is printed."""

import json
from pathlib import Path

import pytest

from orchestrator.cli import main

GOOD = """\
workflow: {workflow: one, steps: [{id: a, action: do.it, target: h1}]}
scenarios:
  - name: it works
    expect: {commands: [a], status: succeeded}
"""
BAD = GOOD + "  - name: it does not\n    expect: {status: failed}\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a good file, one with a failing scenario, and one that is no scenario file."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    (tmp_path / "broken.yaml").write_text("scenarios: [{nam: x}]\n")
    return tmp_path


def test_all_pass(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, a line for each file of a directory, and a sum."""
    assert main(["test", str(files / "good")]) == 0
    out = capsys.readouterr().out
    assert "a.yaml: 1 passed" in out
    assert "1 passed, 0 failed" in out
    assert "\033" not in out


def test_one_fails(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, with where the scenario stands and what differs."""
    assert main(["test", str(files / "good"), str(files / "bad.yaml")]) == 1
    out = capsys.readouterr().out
    assert "bad.yaml: 1 passed, 1 failed" in out
    assert "bad.yaml:5: it does not" in out
    assert "- failed" in out
    assert "2 passed, 1 failed" in out


def test_only_some(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`-k` picks by a part of the name or file, whatever its case."""
    assert main(["test", str(files / "bad.yaml"), "-k", "IT WORKS"]) == 0
    assert "1 passed, 0 failed" in capsys.readouterr().out
    assert main(["test", str(files / "bad.yaml"), "-k", "nothing like it"]) == 2
    assert "nothing like it" in capsys.readouterr().err


def test_verbose_names_every_scenario(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that pass."""
    assert main(["test", "-v", str(files / "good")]) == 0
    assert "it works" in capsys.readouterr().out


def test_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, whatever the outcome."""
    assert main(["test", "--json", str(files / "bad.yaml")]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["passed"], told["failed"]) == (False, 1, 1)
    assert [one["ok"] for one in told["scenarios"]] == [True, False]
    assert main(["test", "--json", str(files / "broken.yaml")]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["details"][0]["line"] == 1


def test_what_is_no_scenario_is_two(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 for a file that is wrong, missing or not named; the place is said."""
    assert main(["test", str(files / "broken.yaml")]) == 2
    assert "broken.yaml:1:14: unknown field 'nam'" in capsys.readouterr().out
    for arguments in ([], [str(files / "gone.yaml")], [str(files / "good" / "a.yaml"), "--nonsense"]):
        assert main(["test", *arguments]) == 2
    (files / "empty").mkdir()
    assert main(["test", str(files / "empty")]) == 2
    assert "Traceback" not in capsys.readouterr().err
