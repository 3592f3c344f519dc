"""The published suite, played by what `baton test` plays it with; and proof that its expectations bite."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

import schemas
from orchestrator.core.model import RunStatus
from orchestrator.document.nodes import parse
from orchestrator.scenario.judging import judge
from orchestrator.scenario.log import SentCommand
from orchestrator.scenario.naming import parse_command
from orchestrator.scenario.playing import play
from orchestrator.scenario.reading import Case
from orchestrator.scenario.report import failure_text, plain
from orchestrator.scenario.running import find_files, read_all
from schemas.scenario import Expected

HERE = Path(__file__).parent
CASES = [case for _, cases in read_all(find_files([HERE])) for case in cases]


def label(case: Case) -> str:
    """How a scenario is called here."""
    return f"{Path(case.file).stem}: {case.name}"


@pytest.mark.parametrize("case", CASES, ids=label)
def test_scenario(case: Case) -> None:
    """What the scenario's name says."""
    played = play(case)
    assert not played.mismatches, "\n" + failure_text(played, plain)


def test_the_suite_is_as_large_as_it_says() -> None:
    """At least 120 scenarios, all with names of their own, and every rule has some."""
    assert len(CASES) >= 120
    assert len({label(case) for case in CASES}) == len(CASES)
    assert {rule for case in CASES for rule in case.scenario.rules} >= RULES


RULES = set(range(1, 13))


def test_the_readme_names_every_file() -> None:
    """No scenario stands outside the rules and the parts of the language that the page speaks of."""
    named = set(re.findall(r"`([a-z-]+)`", (HERE / "README.md").read_text(encoding="utf-8")))
    assert {Path(case.file).stem for case in CASES} <= named


def test_every_file_fits_the_published_schema() -> None:
    """What editors and other engines read: `schemas/json/scenario.schema.json`."""
    schema = json.loads((Path(schemas.__file__).parent / "json" / "scenario.schema.json").read_text())
    validator = Draft202012Validator(schema)
    for path in find_files([HERE]):
        root, _ = parse(path.read_text(encoding="utf-8"), str(path))
        assert root is not None
        assert [error.message for error in validator.iter_errors(root.data)] == [], path.name


def wrong(expected: Expected, sent: list[SentCommand]) -> Iterator[tuple[str, Expected]]:
    """Expectations that must fail where `expected` holds; `sent`: what was sent."""
    for what, commands in wrong_commands(expected.commands, sent):
        yield what, replace(expected, commands=commands)
    for status in RunStatus:
        if expected.status not in (None, status):
            yield f"status {status}", replace(expected, status=str(status))
    for step, given in expected.steps.items():
        if isinstance(given, str):
            other = "skipped" if given != "skipped" else "succeeded"
            yield f"{step} {other}", replace(expected, steps={**expected.steps, step: other})
    for name in ("inbox", "events"):
        if getattr(expected, name):
            yield f"no {name}", replace(expected, **{name: []})
    if expected.runs:
        yield "no runs", replace(expected, runs={})


def wrong_commands(commands: list[Any] | None, sent: list[SentCommand]) -> Iterator[tuple[str, list[Any]]]:
    """Commands that must not pass for `commands`: too many, too few, or in another order."""
    if commands is None:
        return
    yield "one command too many", [*commands, "surely-not"]
    yield "one command first", ["surely-not", *commands]
    if commands:
        yield "the last command is missing", commands[:-1]
        yield "the first command is missing", commands[1:]
    for place, (one, other) in enumerate(pairwise(commands)):
        if not isinstance(one, str) or not isinstance(other, str) or one.split("#")[0] == other.split("#")[0]:
            continue
        before, after = commands[:place], commands[place + 2 :]
        yield f"{one} and {other} swapped", [*before, other, one, *after]
        first, second = (next(c for c in sent if c.fits(parse_command(text))) for text in (one, other))
        if first.answered is not None and first.answered <= second.number:
            yield f"{one} and {other} side by side", [*before, [one, other], *after]


@pytest.mark.parametrize("file", sorted({case.file for case in CASES}), ids=lambda file: Path(file).stem)
def test_no_wrong_expectation_passes(file: str) -> None:
    """Of each scenario, every expectation that is made wrong on purpose fails."""
    passed: list[Any] = []
    tried = 0
    for case in CASES:
        if case.file != file:
            continue
        played = play(case)
        for what, expected in wrong(case.scenario.expect, played.engine.log.commands):
            tried += 1
            if not judge(played.engine, expected):
                passed.append((case.name, what))
    assert not passed
    assert tried or all(case.scenario.expect.refused is not None for case in CASES if case.file == file)
