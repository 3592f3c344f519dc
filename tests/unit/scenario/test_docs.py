"""The page about scenarios says what the code does."""

import re
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import fields

from orchestrator.scenario.playing import play
from orchestrator.scenario.reading import read_scenarios
from schemas import scenario

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def described(title: str, table: int = 0) -> set[str]:
    """The words in the first column of a table below a heading."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = tables[table].splitlines()[2:]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("The file", scenario.ScenarioFile),
        ("A scenario", scenario.Scenario),
        ("Outcomes", scenario.Outcome),
        ("What happens", scenario.Happening),
        ("What is expected", scenario.Expected),
    ],
)
def test_every_field_is_described(title: str, kind: type[Struct]) -> None:
    """Each table has the fields of the code and no others."""
    assert described(title) == {field.encode_name for field in fields(kind)}


def test_every_word_is_described() -> None:
    """Outcomes in their table; moves, answers to a cancel and to a query where they are used."""
    assert described("Outcomes", table=1) == set(scenario.OUTCOMES)
    words = {word for line in PAGE.splitlines() for word in re.findall(r"`([a-z_]+)`", line)}
    assert words >= {*scenario.MOVES, *scenario.ANSWERS, *scenario.CANCEL_ANSWERS}


def test_the_example_passes(tmp_path: Path) -> None:
    """The scenarios that the page shows do what they say."""
    for name, block in re.findall(r"^```yaml ([\w.]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(block)
    cases = read_scenarios(tmp_path / "scenario")
    assert len(cases) == 2
    assert [mismatch for case in cases for mismatch in play(case).mismatches] == []
