"""Scenario files, found and played: what `baton test` and the tests of the published suite both do."""

from collections.abc import Iterable
from pathlib import Path

from orchestrator.document.diagnostics import InvalidDocument
from orchestrator.scenario.reading import Case, read_scenarios

__all__ = ["FileOfCases", "find_files", "read_all"]

FileOfCases = tuple[Path, list[Case]]


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and of a directory every `*.yaml` with `scenarios:` below it, by name.

    Workflow documents may lie beside their scenarios. A file that is named is read whatever it holds.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*.yaml") if _has_scenarios(file))
        else:
            found.append(path)
    return found


def _has_scenarios(file: Path) -> bool:
    with file.open("rb") as lines:
        return any(line.startswith(b"scenarios:") for line in lines)


def read_all(paths: Iterable[Path], pattern: str = "") -> list[FileOfCases]:
    """The scenarios in these files whose `file: name` contains `pattern`, whatever its case.

    Everything wrong with all files is in one `InvalidDocument`; a file that cannot be read raises `OSError`.
    """
    read: list[FileOfCases] = []
    wrong = []
    for path in paths:
        try:
            cases = read_scenarios(path)
        except InvalidDocument as error:
            wrong += error.diagnostics
            continue
        wanted = [case for case in cases if pattern.lower() in f"{path}: {case.name}".lower()]
        if wanted:
            read.append((path, wanted))
    if wrong:
        raise InvalidDocument(wrong)
    return read
