"""The examples cannot rot: their documents are good, and their scenarios pass."""

from pathlib import Path

import pytest

from orchestrator.document import check_circles, read_workflow
from orchestrator.scenario.playing import play
from orchestrator.scenario.reading import Case
from orchestrator.scenario.report import failure_text, plain
from orchestrator.scenario.running import read_all

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENARIOS = sorted(EXAMPLES.glob("*/*-test.yaml"))
DOCUMENTS = sorted(set(EXAMPLES.glob("*/*.yaml")) - set(SCENARIOS))
CASES = [case for _, cases in read_all(SCENARIOS) for case in cases]


def test_the_documents_are_good() -> None:
    """`baton check` finds nothing wrong with them, each for itself and all together."""
    texts = [(path.read_bytes(), str(path)) for path in DOCUMENTS]
    read = [(text, name, read_workflow(text, name)) for text, name in texts]
    assert len({definition.name for _, _, definition in read}) == len(DOCUMENTS)
    assert check_circles(read) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_document_has_scenarios(path: Path) -> None:
    """Some file beside it tries it out, and says in its first line how to play it."""
    files = [file for file in SCENARIOS if file.parent == path.parent and path.name in file.read_text()]
    assert files
    for file in files:
        how = f"baton test {file.relative_to(EXAMPLES.parent)}"
        assert file.read_text().splitlines()[0].endswith(how)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{Path(case.file).stem}: {case.name}")
def test_scenario(case: Case) -> None:
    """What the scenario's name says."""
    played = play(case)
    assert not played.mismatches, "\n" + failure_text(played, plain)
