"""A workflow document, checked and compiled into what the machine runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from orchestrator.core.expressions import Expression
from orchestrator.core.input_schema import InputSchema
from orchestrator.core.templates import Template
from schemas.errors import InvalidInput
from schemas.times import Micros
from schemas.workflow import Workflow

__all__ = [
    "Definition",
    "InvalidDefinition",
    "Path",
    "Problem",
    "RetryPolicy",
    "StepDef",
    "Target",
    "TriggerDef",
    "UndoDef",
]

Path = tuple[str | int, ...]

_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: `path` leads to the value, `offset` counts characters in its text.

    `order`: it follows from what the steps need, so it may be gone once a wrong `needs` is mended.
    """

    path: Path
    message: str
    hint: str = ""
    offset: int = 0
    order: bool = False


class InvalidDefinition(InvalidInput):
    """A document that cannot be run; `problems` lists everything that is wrong with it."""

    code = "invalid_workflow"

    def __init__(self, problems: list[Problem]) -> None:
        details = [
            {"path": list(problem.path), "message": problem.message, "hint": problem.hint}
            for problem in problems
        ]
        count = len(problems)
        summary = problems[0].message if count == 1 else f"{count} problems, the first: {problems[0].message}"
        super().__init__(summary, hint=problems[0].hint, details=details)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a failed attempt is made again. `attempts` counts the first one too."""

    attempts: int
    delay: Micros
    backoff: float
    max_delay: Micros

    def delay_before(self, attempt: int, jitter: float) -> Micros:
        """The wait after attempt number `attempt` (from 1) failed; `jitter` in [0, 1) spreads it by 20 %."""
        try:
            planned = self.delay * self.backoff ** (attempt - 1)
        except OverflowError:
            return self.max_delay
        return int(min(planned * (1 - _JITTER + 2 * _JITTER * jitter), self.max_delay))


@dataclass(frozen=True, slots=True)
class Target:
    """Who takes a command: the agent, or any agent of the pool, that the template `name` gives."""

    kind: Literal["agent", "pool"]
    name: Template


@dataclass(frozen=True, slots=True)
class UndoDef:
    """How a step is undone; `target` None means by the agent that did it."""

    action: str
    args: Template
    target: Target | None
    timeout: Micros
    retry: RetryPolicy
    idempotent: bool
    after_failure: bool


@dataclass(frozen=True, slots=True)
class StepDef:
    """One step. `needs` has the default applied; `upstream` and `dependents` reach all the way."""

    id: str
    index: int
    needs: tuple[str, ...]
    upstream: frozenset[str]
    dependents: frozenset[str]
    condition: Expression | None
    action: str
    args: Template
    target: Target
    timeout: Micros
    retry: RetryPolicy
    idempotent: bool
    compensate: UndoDef | None
    output: Template | None


@dataclass(frozen=True, slots=True)
class TriggerDef:
    """Which events start a run, under what key and with what input. In scope: `event`."""

    event: str
    condition: Expression | None
    key: Expression | None
    input: Template | None

    def matches(self, event_type: str) -> bool:
        """Whether events of this CloudEvents type are meant; a `*` at the end stands for any suffix."""
        if self.event.endswith("*"):
            return event_type.startswith(self.event[:-1])
        return event_type == self.event


@dataclass(frozen=True, slots=True)
class Definition:
    """A document ready to run. `version` is the hash of its content; `steps` are in the document's order."""

    document: Workflow
    version: str
    steps: Mapping[str, StepDef]
    triggers: tuple[TriggerDef, ...]
    output: Template | None
    input_schema: InputSchema

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.document.workflow

    def check_input(self, value: Any) -> list[str]:
        """What is wrong with a run's input, one readable line each; empty when it fits the schema."""
        return self.input_schema.check(value)
