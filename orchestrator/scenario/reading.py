"""Scenario files: YAML to cases that can be played, or all that is wrong with it, with line and column."""

from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import msgspec

from orchestrator.core.definition import Definition, Path
from orchestrator.document.diagnostics import Diagnostic, InvalidDocument
from orchestrator.document.nodes import Node, parse
from orchestrator.document.reading import decode_text, read_node, read_workflow
from orchestrator.document.shape import fit
from orchestrator.scenario.checking import problems, strays
from orchestrator.scenario.clock import BEGINNING
from orchestrator.settings import Settings
from schemas.errors import InvalidInput
from schemas.scenario import AgentSpec, Scenario, ScenarioFile
from schemas.times import Micros, from_rfc3339

__all__ = ["Case", "read_scenarios"]


@dataclass(slots=True)
class Case:
    """One scenario, ready to be played. `refused`: what is wrong with its documents."""

    file: str
    line: int
    scenario: Scenario
    documents: list[Definition]
    settings: Settings
    agents: dict[str, AgentSpec] | None
    beginning: Micros
    applied: dict[int, Definition] = field(default_factory=dict)
    """Documents applied later, by their place in `happens`."""
    refused: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What must hold."""
        return self.scenario.name


def read_scenarios(path: File) -> list[Case]:
    """The scenarios in a file; `InvalidDocument` has all that is wrong, `OSError` if it cannot be read."""
    name = str(path)
    decoded = decode_text(path.read_bytes(), name)
    if isinstance(decoded, Diagnostic):
        raise InvalidDocument([decoded])
    root, found = parse(decoded, name)
    if root is None or found:
        raise InvalidDocument(found)
    shape = fit(root, name, ScenarioFile)
    if shape.found or not isinstance(shape.document, ScenarioFile):
        raise InvalidDocument(shape.found)
    return _Reader(path, root, shape.document).read()


class _Reader:
    """Gathers what is wrong with one file while it makes its cases."""

    def __init__(self, path: File, root: Node, content: ScenarioFile) -> None:
        self.path = path
        self.root = root
        self.content = content
        self.found: list[Diagnostic] = []
        self._shared: tuple[list[Definition], list[Diagnostic]] | None = None

    def read(self) -> list[Case]:
        cases = [self._case(index, scenario) for index, scenario in enumerate(self.content.scenarios)]
        names: dict[str, int] = {}
        for index, case in enumerate(cases):
            if case.name in names:
                self._problem(
                    ("scenarios", index, "name"), "a second scenario of this name", "names must differ"
                )
            names[case.name] = index
        if self.found:
            raise InvalidDocument(
                sorted(set(self.found), key=lambda one: (one.line, one.column, one.message))
            )
        return cases

    def _case(self, index: int, scenario: Scenario) -> Case:
        path: Path = ("scenarios", index)
        for problem in problems(scenario):
            self._problem((*path, *problem.path), problem.message, problem.hint, of_key=problem.of_key)
        documents, refused = self._documents(path, scenario)
        if scenario.expect.refused is None:
            self.found += refused
            if not documents and not refused:
                self._problem(path, "a scenario without a workflow", "give one here or for the whole file")
        applied = {
            place: definition
            for place, happening in enumerate(scenario.happens)
            if happening.apply is not None
            and (definition := self._applied((*path, "happens", place, "apply"), happening.apply)) is not None
        }
        if documents and not refused:
            steps = {step for one in (*documents, *applied.values()) for step in one.steps}
            for problem in strays(scenario, steps):
                self._problem((*path, *problem.path), problem.message, problem.hint, of_key=problem.of_key)
        return Case(
            file=str(self.path),
            line=self._node((*path, "name")).line,
            scenario=scenario,
            documents=documents,
            settings=self._settings(path, scenario),
            agents=scenario.agents if scenario.agents is not None else self.content.agents,
            beginning=self._beginning(path, scenario),
            applied=applied,
            refused=[one.message for one in refused],
        )

    # documents

    def _documents(self, path: Path, scenario: Scenario) -> tuple[list[Definition], list[Diagnostic]]:
        """The scenario's own workflows, else those of the file."""
        if scenario.workflow is None and not scenario.workflows:
            if self._shared is None:
                self._shared = self._all((), self.content)
            return self._shared
        return self._all(path, scenario)

    def _all(self, path: Path, given: Scenario | ScenarioFile) -> tuple[list[Definition], list[Diagnostic]]:
        named: list[tuple[Path, Any]] = []
        if given.workflow is not None:
            named.append(((*path, "workflow"), given.workflow))
        named += [((*path, "workflows", place), one) for place, one in enumerate(given.workflows)]
        found: list[Diagnostic] = []
        documents = [self._document(where, one, found) for where, one in named]
        return [document for document in documents if document is not None], found

    def _document(self, path: Path, given: Any, found: list[Diagnostic]) -> Definition | None:
        if not isinstance(given, str):
            definition, wrong = read_node(self._node(path), str(self.path))
            found += wrong
            return definition if not wrong else None
        file = self.path.parent / given
        try:
            return read_workflow(file.read_bytes(), str(file))
        except OSError as error:
            self._problem(path, f"cannot read {file}: {error.strerror}", "the path is relative to this file")
        except InvalidDocument as error:
            found += error.diagnostics
        return None

    def _applied(self, path: Path, given: Any) -> Definition | None:
        return self._document(path, given, self.found)

    # the rest

    def _settings(self, path: Path, scenario: Scenario) -> Settings:
        merged = {**self.content.settings, **scenario.settings}
        try:
            return msgspec.convert(merged, Settings)
        except msgspec.ValidationError as error:
            known = ", ".join(Settings.__struct_fields__)
            where = (*path, "settings") if scenario.settings else ("settings",)
            self._problem(where, f"settings: {error}", f"settings are {known}")
            return Settings()

    def _beginning(self, path: Path, scenario: Scenario) -> Micros:
        if scenario.now is None:
            return BEGINNING
        try:
            return from_rfc3339(scenario.now)
        except InvalidInput as error:
            self._problem((*path, "now"), error.message, error.hint)
            return BEGINNING

    def _problem(self, path: Path, message: str, hint: str = "", *, of_key: bool = False) -> None:
        node = self._node(path)
        if of_key:
            entries = self._node(path[:-1]).entries or {}
            node = entries[str(path[-1])][0]
        self.found.append(Diagnostic(str(self.path), node.line, node.column, message, hint, path))

    def _node(self, path: Path) -> Node:
        """The node that `path` leads to, or the nearest around it."""
        node = self.root
        for key in path:
            inner: Node | None = None
            if isinstance(key, int):
                inner = node.items[key] if node.items and key < len(node.items) else None
            elif node.entries and key in node.entries:
                inner = node.entries[key][1]
            if inner is None:
                break
            node = inner
        return node
