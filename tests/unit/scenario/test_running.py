"""Which files of a directory are scenario files."""

from pathlib import Path

from orchestrator.scenario.running import find_files


def test_of_a_directory_only_files_with_scenarios_are_played(tmp_path: Path) -> None:
    """Workflow documents may lie beside them, and below; a file that is named is always read."""
    (tmp_path / "below").mkdir()
    wanted = tmp_path / "below" / "it-test.yaml"
    wanted.write_text("about: x\nscenarios:\n  - name: y\n")
    document = tmp_path / "it.yaml"
    document.write_text("workflow: it\nsteps: []\n")
    assert find_files([tmp_path]) == [wanted]
    assert find_files([document]) == [document]
