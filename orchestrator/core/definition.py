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
    "ApprovalDef",
    "AwaitDef",
    "ConcurrencyDef",
    "DebounceDef",
    "Definition",
    "EmitDef",
    "InvalidDefinition",
    "OnFailure",
    "OnUnknown",
    "Path",
    "Problem",
    "RetryPolicy",
    "RolloutDef",
    "ScheduleDef",
    "StepDef",
    "StepKind",
    "Target",
    "ThrottleDef",
    "TriggerDef",
    "UndoDef",
    "matches_type",
]

Path = tuple[str | int, ...]

StepKind = Literal["action", "workflow", "wait_for", "approve", "sleep", "emit"]
OnFailure = Literal["compensate", "continue", "pause"]
OnUnknown = Literal["ask", "retry", "compensate"]

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
    """Who takes a command.

    `agent` and `pool`: the one that the template `name` gives (text). `labels`: the least busy live agent
    that has all the labels which `name` gives (a map of text), `all`: every one of them.
    """

    kind: Literal["agent", "pool", "labels", "all"]
    name: Template


@dataclass(frozen=True, slots=True)
class UndoDef:
    """How a step is undone; `target` None means by the agent that did it, `start_within` None the default."""

    action: str
    args: Template
    target: Target | None
    timeout: Micros
    start_within: Micros | None
    retry: RetryPolicy
    idempotent: bool
    after_failure: bool


@dataclass(frozen=True, slots=True)
class RolloutDef:
    """In which portions hosts are taken, and how many may fail.

    `batch` hosts at a time, or `percent` of them, rounded up; neither: all at once.
    """

    batch: int | None = None
    percent: int | None = None
    pause: Micros = 0
    max_failures: int = 0

    def batch_size(self, hosts: int) -> int:
        """Hosts at a time, of so many; at least 1."""
        if self.percent is not None:
            return max(1, -(-hosts * self.percent // 100))
        return max(1, hosts if self.batch is None else self.batch)


@dataclass(frozen=True, slots=True)
class AwaitDef:
    """What a `wait_for` step waits for. `value_of` sees the awaited event, `expect` what a step sees.

    `topic` names this kind of waiting: events are filed under (topic, value), so that a waiting run is found
    without asking all of them. Two steps with the same `event` and `correlate.from` have one topic.
    """

    event: str
    topic: str
    value_of: Expression | None
    expect: Expression | None
    condition: Expression | None
    timeout: Micros

    def matches(self, event_type: str) -> bool:
        """Whether events of this CloudEvents type are meant."""
        return matches_type(self.event, event_type)


@dataclass(frozen=True, slots=True)
class ApprovalDef:
    """Whose approval an `approve` step waits for; an empty `by` is anybody's."""

    by: tuple[str, ...]
    message: Template
    timeout: Micros
    on_timeout: Literal["reject", "approve"]


@dataclass(frozen=True, slots=True)
class EmitDef:
    """The event that an `emit` step publishes."""

    type: str
    data: Template
    subject: Template


@dataclass(frozen=True, slots=True)
class StepDef:
    """One step. `needs` has the default applied; `upstream` and `dependents` reach all the way.

    Which of `action` (not empty), `child` (not empty), `wait`, `approval`, `sleep` and `emit` is set follows
    from `kind`. `args` are an action's arguments or a child's input. `target` is an action's only.
    `start_within` None means the coordinator's setting. `max_parallel` is set with `foreach` only, and
    `rollout` (never None then) only with a target of kind `all`.
    """

    id: str
    index: int
    kind: StepKind
    needs: tuple[str, ...]
    upstream: frozenset[str]
    dependents: frozenset[str]
    condition: Expression | None
    args: Template
    timeout: Micros
    start_within: Micros | None
    retry: RetryPolicy
    idempotent: bool
    compensate: UndoDef | None
    output: Template | None
    priority: int
    action: str = ""
    target: Target | None = None
    child: str = ""
    wait: AwaitDef | None = None
    approval: ApprovalDef | None = None
    sleep: Template | None = None
    emit: EmitDef | None = None
    foreach: Expression | None = None
    max_parallel: int | None = None
    rollout: RolloutDef | None = None
    pivot: bool = False
    on_failure: OnFailure = "compensate"
    on_unknown: OnUnknown = "ask"

    @property
    def fans_out(self) -> bool:
        """Whether it has a task for each item or host, known only when it starts."""
        return self.foreach is not None or self.rollout is not None

    @property
    def can_undo(self) -> bool:
        """Whether an effect of it can be undone: by its `compensate`, or by the child run's own undos."""
        return self.compensate is not None or self.kind == "workflow"


@dataclass(frozen=True, slots=True)
class ScheduleDef:
    """By the clock: a cron expression in a time zone. `catch_up`: one run for all that were missed."""

    cron: str
    timezone: str
    catch_up: bool


@dataclass(frozen=True, slots=True)
class DebounceDef:
    """Start `wait` after the last event of a key, at the latest `longest` after the first."""

    wait: Micros
    longest: Micros | None


@dataclass(frozen=True, slots=True)
class ThrottleDef:
    """Of one key, start at most `limit` runs in `per`."""

    limit: int
    per: Micros


@dataclass(frozen=True, slots=True)
class TriggerDef:
    """What starts a run: events of a type, or a `schedule` (`event` is empty then); its key and its input.

    In scope of its expressions: `event`.
    """

    event: str
    condition: Expression | None
    key: Expression | None
    input: Template | None
    schedule: ScheduleDef | None = None
    debounce: DebounceDef | None = None
    throttle: ThrottleDef | None = None

    def matches(self, event_type: str) -> bool:
        """Whether events of this CloudEvents type are meant; a `*` at the end stands for any suffix."""
        return bool(self.event) and matches_type(self.event, event_type)


@dataclass(frozen=True, slots=True)
class ConcurrencyDef:
    """How many runs of the group that the template gives may be under way at once.

    In scope of the template: `event input run`.
    """

    group: Template
    limit: int
    on_conflict: Literal["queue", "reject", "cancel_running"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A document ready to run. `version` is the hash of its content; `steps` are in the document's order.

    `pivot` is the step past which there is no way back. `longest_expression` is in characters, `highest_cost`
    that of the costliest expression (see `costs`).
    """

    document: Workflow
    version: str
    steps: Mapping[str, StepDef]
    triggers: tuple[TriggerDef, ...]
    output: Template | None
    input_schema: InputSchema
    timeout: Micros | None = None
    concurrency: ConcurrencyDef | None = None
    pivot: StepDef | None = None
    longest_expression: int = 0
    highest_cost: int = 0

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.document.workflow

    @property
    def priority(self) -> int:
        """0 to 9; higher goes first."""
        return self.document.priority

    def check_input(self, value: Any) -> list[str]:
        """What is wrong with a run's input, one readable line each; empty when it fits the schema."""
        return self.input_schema.check(value)


def matches_type(pattern: str, event_type: str) -> bool:
    """Whether a CloudEvents type fits a pattern, in which a `*` at the end stands for any suffix."""
    return event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern
