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


def _about(text: str) -> Meta:
    """What an editor shows at a field."""
    return Meta(description=text)


_ID = "[A-Za-z][A-Za-z0-9_-]{0,62}"
_NAME = "[A-Za-z][A-Za-z0-9_.-]"

Duration = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(ms|s|m|h|d)$(?!\n)")]
Expression = Annotated[str, Meta(min_length=1, max_length=MAX_EXPRESSION)]
StepId = Annotated[str, Meta(pattern=rf"^{_ID}$(?!\n)")]
WorkflowName = Annotated[str, Meta(pattern=rf"^{_NAME}{{0,62}}$(?!\n)")]
ActionName = Annotated[str, Meta(pattern=rf"^{_NAME}{{0,126}}$(?!\n)")]
EventPattern = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*\*?|\*)$(?!\n)", max_length=255)]
Attempts = Annotated[int, Meta(ge=1, le=1000)]
Backoff = Annotated[float, Meta(ge=1, le=100)]
Template = dict[str, Any]


class PoolTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """Any one agent of a pool; the first that is free takes the command."""

    pool: Annotated[str, Meta(min_length=1, description="the pool's name (template)")]


Target = Annotated[str, Meta(min_length=1)] | PoolTarget


class Retry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often and how soon a failed attempt is made again; unset fields have the default of their place."""

    attempts: Annotated[Attempts | None, _about("all attempts, the first included")] = None
    delay: Annotated[Duration | None, _about("wait before the second attempt, e.g. 1s")] = None
    backoff: Annotated[Backoff | None, _about("each further wait is this much longer")] = None
    max_delay: Annotated[Duration | None, _about("longest wait, e.g. 30s")] = None


class Compensate(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"with_": "with"}
):
    """The action that undoes a step, sent to the agent that did the step unless `target` says otherwise."""

    action: Annotated[ActionName, _about("the action that undoes the step")]
    with_: Annotated[Template, _about("the undo's arguments (template)")] = field(default_factory=dict)
    target: Annotated[Target | None, _about("another agent (template) or a pool; else who did the step")] = (
        None
    )
    timeout: Annotated[Duration | None, _about("limit of one attempt, e.g. 2m")] = None
    retry: Annotated[Retry | None, _about("the undo's own retries")] = None
    idempotent: Annotated[bool, _about("doing it twice is as good as once")] = False
    after_failure: Annotated[bool, _about("undo the step also when it reported failure")] = False


class Step(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"if_": "if", "with_": "with"}
):
    """One step. `needs` absent means the step written just above; `needs: []` starts at once."""

    id: Annotated[StepId, _about("the step's name in this workflow")]
    action: Annotated[ActionName, _about("what an agent is to do")]
    target: Annotated[Target, _about("the agent's name (template), or {pool: name}")]
    needs: Annotated[
        list[StepId] | None, _about("steps to wait for; absent: the one just above; []: none")
    ] = None
    if_: Annotated[Expression | None, _about("skip the step unless this CEL expression is true")] = None
    with_: Annotated[Template, _about("the action's arguments (template)")] = field(default_factory=dict)
    timeout: Annotated[Duration | None, _about("limit of one attempt, e.g. 2m")] = None
    retry: Annotated[Retry | None, _about("retries after a failed attempt")] = None
    idempotent: Annotated[bool, _about("doing it twice is as good as once")] = False
    compensate: Annotated[Compensate | None, _about("how to undo the step")] = None
    output: Annotated[Any, _about("the step's output (template); absent: what the action answered")] = (
        msgspec.UNSET
    )


class Trigger(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"if_": "if"}):
    """Which events start a run. `key` is a template-free CEL expression: one live run per key."""

    event: Annotated[EventPattern, _about("a CloudEvents type; a `*` at the end matches any suffix")]
    if_: Annotated[Expression | None, _about("CEL: only events for which this is true")] = None
    key: Annotated[Expression | None, _about("CEL: the business key; one live run per key")] = None
    input: Annotated[Template | None, _about("the run's input (template); absent: the event's data")] = None


class Workflow(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole document. `input` is the JSON Schema of a run's input, `output` a template."""

    workflow: Annotated[WorkflowName, _about("the workflow's name")]
    steps: Annotated[list[Step], Meta(min_length=1, max_length=MAX_STEPS, description="what to do")]
    description: Annotated[str, _about("one line for people")] = ""
    triggers: Annotated[list[Trigger], _about("events that start a run")] = field(default_factory=list)
    input: Annotated[dict[str, Any], _about("JSON Schema of the run's input")] = field(default_factory=dict)
    output: Annotated[Any, _about("the run's output (template)")] = msgspec.UNSET
