"""The workflow document: one YAML file per workflow, in these shapes.

Only what this version carries out is a field; anything else is refused as unknown, never ignored.
Durations (`timeout`, `delay`, …) are text such as `30s`. A *template* is any JSON value whose strings may
hold `${{ … }}`; an *expression* is bare CEL.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field

__all__ = [
    "MAX_STEPS",
    "Compensate",
    "PoolTarget",
    "Retry",
    "Step",
    "Trigger",
    "Workflow",
]

MAX_STEPS: Final = 1_000
MAX_EXPRESSION: Final = 2_000
"""Longest CEL expression, in characters."""

Duration = Annotated[str, Meta(pattern=r"^\d{1,12}(ms|s|m|h|d)$(?!\n)", description="a duration: 500ms 30s 5m 2h 1d")]
Expression = Annotated[str, Meta(min_length=1, max_length=MAX_EXPRESSION, description="a CEL expression")]
StepId = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$(?!\n)", description="a step's id")]
WorkflowName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$(?!\n)")]
ActionName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,126}$(?!\n)")]
EventPattern = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*\*?|\*)$(?!\n)",
        max_length=255,
        description="a CloudEvents type; a `*` at the end matches any suffix",
    ),
]


class PoolTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """Any one agent of a pool; the first that is free takes the command."""

    pool: Annotated[str, Meta(min_length=1, description="a pool's name (template)")]


Target = Annotated[str, Meta(min_length=1, description="an agent's name (template)")] | PoolTarget


class Retry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often and how soon a failed attempt is made again. Unset fields take the default of where it stands."""

    attempts: Annotated[int, Meta(ge=1, le=1000, description="all attempts, the first included")] | None = None
    delay: Duration | None = None
    backoff: Annotated[float, Meta(ge=1, le=100)] | None = None
    max_delay: Duration | None = None


class Compensate(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"with_": "with"}):
    """The action that undoes a step. It goes to the agent that did the step unless `target` says otherwise."""

    action: ActionName
    with_: dict[str, Any] = field(default_factory=dict)
    target: Target | None = None
    timeout: Duration | None = None
    retry: Retry | None = None
    idempotent: bool = False
    after_failure: bool = False


class Step(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"if_": "if", "with_": "with"}
):
    """One step. `needs` absent means the step written just above; `needs: []` starts at once."""

    id: StepId
    action: ActionName
    target: Target
    needs: list[StepId] | None = None
    if_: Expression | None = None
    with_: dict[str, Any] = field(default_factory=dict)
    timeout: Duration | None = None
    retry: Retry | None = None
    idempotent: bool = False
    compensate: Compensate | None = None
    output: Any = msgspec.UNSET


class Trigger(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"if_": "if"}):
    """Which events start a run. `key` is a template-free CEL expression: one live run per key."""

    event: EventPattern
    if_: Expression | None = None
    key: Expression | None = None
    input: dict[str, Any] | None = None


class Workflow(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole document. `input` is the JSON Schema of a run's input, `output` a template."""

    workflow: WorkflowName
    steps: Annotated[list[Step], Meta(min_length=1, max_length=MAX_STEPS)]
    description: str = ""
    triggers: list[Trigger] = field(default_factory=list)
    input: dict[str, Any] = field(default_factory=dict)
    output: Any = msgspec.UNSET
