"""Histories recorded by earlier versions still mean what they meant. README.md says what a failure means."""

from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import structs

from orchestrator.core.facts import Fact
from orchestrator.core.inputs import Input
from schemas.workflow import STEP_KINDS
from tests.golden.cases import CASES
from tests.golden.record import decides_otherwise, record, write
from tests.golden.story import FILES, Story, StoryMove, tell

PATHS = sorted(FILES.glob("*.json"))
STORIES = {path.stem: tell(path) for path in PATHS}
EVERY = pytest.mark.parametrize("name", STORIES)


def moves() -> list[StoryMove]:
    """Every move of every case."""
    return [move for story in STORIES.values() for move in story.moves]


@EVERY
def test_a_stored_document_compiles_to_its_version(name: str) -> None:
    """The hash of its content is the same: a live run finds its definition, and it is not refused."""
    for version, definition in STORIES[name].definitions().items():
        assert definition.version == version


@EVERY
def test_a_stored_history_folds_to_the_stored_state(name: str) -> None:
    """Every stored fact can be read, and together they lead to the state that was stored with them."""
    story = STORIES[name]
    assert story.folded() == story.stored()


@EVERY
def test_the_same_inputs_lead_to_the_same_facts_and_commands(name: str) -> None:
    """A live run goes on as it would have; where it is meant not to, the file says why."""
    story = STORIES[name]
    if story.decided_otherwise:
        pytest.skip(story.decided_otherwise)
    for then, now in zip(story.moves, story.decided(), strict=True):
        assert now == then


def test_each_case_has_its_file_and_each_file_its_case() -> None:
    """`python -m tests.golden.record` writes what is missing."""
    assert set(STORIES) == set(CASES)


def test_every_kind_of_fact_is_told() -> None:
    """A new one needs a case, or live runs with it are not held."""
    told = {fact["fact"] for move in moves() for fact in move.facts}
    assert told == {kind.__struct_config__.tag for kind in get_args(Fact)}


def test_every_kind_of_input_is_told() -> None:
    """What can happen to a run happens to one of these."""
    told = {move.input["kind"] for move in moves() if move.input is not None}
    assert told == {kind.__name__ for kind in get_args(Input)}


def test_every_kind_of_step_is_told() -> None:
    """Action, child, event, person, time, publishing."""
    told = {key for story in STORIES.values() for step in story.document.document["steps"] for key in step}
    assert told >= {*STEP_KINDS, "foreach", "rollout", "pivot", "compensate"}


# The recorder


def test_recording_leaves_what_is_recorded_alone(tmp_path: Path) -> None:
    """Only what has no file is written; more takes a word that says what it does to live runs."""
    assert set(record(tmp_path)) == set(CASES)
    write(tmp_path / "linear.json", structs.replace(STORIES["linear"], about="by hand"))
    (tmp_path / "diamond.json").unlink()
    assert record(tmp_path) == ["diamond"]
    assert tell(tmp_path / "linear.json").about == "by hand"
    assert record(tmp_path, broken=("linear",)) == ["linear"]
    assert tell(tmp_path / "linear.json").about != "by hand"


def test_a_case_that_is_decided_otherwise_keeps_its_history(tmp_path: Path) -> None:
    """Only the comparison of decisions ends; what it folds to is still held."""
    write(tmp_path / "linear.json", STORIES["linear"])
    decides_otherwise(tmp_path, "linear", "attempts are named differently")
    kept = tell(tmp_path / "linear.json")
    assert kept.decided_otherwise
    assert kept.moves == STORIES["linear"].moves


def change(story: Story, **fields: Any) -> Story:
    """The story with something else in the first fact of its second move."""
    first, second, *rest = story.moves
    fact = {**second.facts[0], **fields}
    return structs.replace(
        story, moves=[first, structs.replace(second, facts=[fact, *second.facts[1:]]), *rest]
    )


def test_a_changed_history_is_noticed() -> None:
    """These tests can fail: another output in a fact leads to another state, and is not what is decided."""
    story = change(STORIES["linear"], output={"n": 5})
    assert story.folded() != story.stored()
    assert story.decided()[1] != story.moves[1]
