"""The workflow document: one YAML file per workflow, in these shapes.

Only what this version carries out is a field; anything else is refused as unknown, never ignored.
Durations (`timeout`, `delay`, …) are text such as `30s`. A *template* is any JSON value whose strings may
hold `${{ … }}`; an *expression* is bare CEL.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

__all__ = [
    "DEFAULT_PRIORITY",
    "MAX_EXPRESSION",
    "MAX_PRIORITY",
    "MAX_STEPS",
    "STEP_KINDS",
    "Approve",
    "Compensate",
    "Concurrency",
    "Correlate",
    "Debounce",
    "Emit",
    "Retry",
    "Rollout",
    "Schedule",
    "Selector",
    "Step",
    "Throttle",
    "Trigger",
    "WaitFor",
    "Workflow",
]

MAX_STEPS: Final = 1_000
MAX_EXPRESSION: Final = 2_000
"""Longest CEL expression, in characters."""
MAX_PRIORITY: Final = 9
DEFAULT_PRIORITY: Final = 5
STEP_KINDS: Final = ("action", "workflow", "wait_for", "approve", "sleep", "emit")
"""What a step can be; it is exactly one of these."""


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
EventType = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$(?!\n)", max_length=255)]
Share = Annotated[str, Meta(pattern=r"^(100|[1-9][0-9]?)%$(?!\n)")]
Attempts = Annotated[int, Meta(ge=1, le=1000)]
Backoff = Annotated[float, Meta(ge=1, le=100)]
Priority = Annotated[int, Meta(ge=0, le=MAX_PRIORITY)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Template = dict[str, Any]


class Selector(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which agents: any one of a `pool`, or live ones that have all `labels`; one of the two."""

    pool: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _about("a pool's name (template): the first agent of it that is free"),
    ] = None
    labels: Annotated[
        Annotated[dict[str, str], Meta(min_length=1, max_length=64)] | None,
        _about("labels that an agent must have (values are templates): the least busy live one"),
    ] = None
    all: Annotated[bool, _about("with labels: every live match, each with a result of its own")] = False


Target = Annotated[str, Meta(min_length=1)] | Selector


class Rollout(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """In which portions a step is done on every host that matches, and how many may fail."""

    batch: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | Share | None,
        _about("hosts at a time: a number, or a part such as 25%; absent: all"),
    ] = None
    pause: Annotated[Duration | None, _about("wait between batches, e.g. 5m")] = None
    max_failures: Annotated[
        int, Meta(ge=0, le=10_000, description="hosts that may fail; one more fails the step")
    ] = 0


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
    target: Annotated[
        Target | None,
        _about("another agent (template), pool or labels; else who did the step"),
    ] = None
    timeout: Annotated[Duration | None, _about("limit of one attempt, e.g. 2m")] = None
    start_within: Annotated[Duration | None, _about("how long its command waits for an agent to take it")] = (
        None
    )
    retry: Annotated[Retry | None, _about("the undo's own retries")] = None
    idempotent: Annotated[bool, _about("doing it twice is as good as once")] = False
    after_failure: Annotated[bool, _about("undo the step also when it reported failure")] = False


class Correlate(Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Which event is meant: the one whose `from` equals this run's `expect`; found by index."""

    from_: Annotated[Expression, _about("CEL over the awaited `event`: text or a whole number")]
    expect: Annotated[Expression, _about("CEL in the step's scope: what it must equal")]


class WaitFor(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"if_": "if"}):
    """Wait for an event. One that came shortly before counts too."""

    event: Annotated[EventPattern, _about("a CloudEvents type; a `*` at the end matches any suffix")]
    correlate: Annotated[Correlate | None, _about("which event is meant; absent: any of this type")] = None
    if_: Annotated[Expression | None, _about("CEL: only an event for which this is true")] = None
    timeout: Annotated[Duration | None, _about("how long to wait; absent: 1d")] = None


class Approve(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Wait for a person to approve or reject."""

    by: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=256)]], _about("who may; absent: anybody")
    ] = field(default_factory=list)
    message: Annotated[str, _about("what is asked (template)")] = ""
    timeout: Annotated[Duration | None, _about("how long to wait; absent: 7d")] = None
    on_timeout: Annotated[Literal["reject", "approve"], _about("what counts if nobody answers")] = "reject"


class Emit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Publish an event."""

    type: Annotated[EventType, _about("its CloudEvents type")]
    data: Annotated[Any, _about("its data (template)")] = None
    subject: Annotated[str, _about("its subject (template)")] = ""


class Step(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"if_": "if", "with_": "with"}
):
    """One step: exactly one of `action workflow wait_for approve sleep emit`.

    `needs` absent means the step written just above; `needs: []` starts at once.
    """

    id: Annotated[StepId, _about("the step's name in this workflow")]
    action: Annotated[ActionName | None, _about("what an agent is to do")] = None
    workflow: Annotated[WorkflowName | None, _about("a workflow to run as a child; `with` is its input")] = (
        None
    )
    wait_for: Annotated[WaitFor | None, _about("an event to wait for")] = None
    approve: Annotated[Approve | None, _about("a person's approval to wait for")] = None
    sleep: Annotated[str | None, _about("how long to wait: a duration, or a template that gives one")] = None
    emit: Annotated[Emit | None, _about("an event to publish")] = None
    target: Annotated[
        Target | None,
        _about("of an action: the agent's name (template), {pool: name}, or {labels: {...}, all: true}"),
    ] = None
    foreach: Annotated[Expression | None, _about("CEL: a list; the step is done for each `item` of it")] = (
        None
    )
    max_parallel: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None, _about("of foreach: items at a time; absent: 1,000")
    ] = None
    rollout: Annotated[Rollout | None, _about("of a target with `all`: in which portions")] = None
    needs: Annotated[
        list[StepId] | None, _about("steps to wait for; absent: the one just above; []: none")
    ] = None
    if_: Annotated[Expression | None, _about("skip the step unless this CEL expression is true")] = None
    with_: Annotated[Template, _about("the action's arguments, or the child's input (template)")] = field(
        default_factory=dict
    )
    start_within: Annotated[
        Duration | None, _about("how long a command waits for an agent to take it; absent: 1m")
    ] = None
    timeout: Annotated[Duration | None, _about("limit of one attempt, e.g. 2m")] = None
    retry: Annotated[Retry | None, _about("retries after a failed attempt")] = None
    idempotent: Annotated[bool, _about("doing it twice is as good as once")] = False
    compensate: Annotated[Compensate | None, _about("how to undo the step")] = None
    pivot: Annotated[bool, _about("once it succeeded nothing is undone any more")] = False
    on_failure: Annotated[Literal["compensate", "continue", "pause"], _about("what its failure leads to")] = (
        "compensate"
    )
    on_unknown: Annotated[
        Literal["ask", "retry", "compensate"], _about("what to do when nobody knows whether it was done")
    ] = "ask"
    priority: Annotated[Priority | None, _about("0 to 9, higher goes first; absent: the workflow's")] = None
    output: Annotated[Any, _about("the step's output (template); absent: what the action answered")] = (
        msgspec.UNSET
    )


class Schedule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Start runs by the clock."""

    cron: Annotated[str, Meta(min_length=1, max_length=256, description="minute hour day month weekday")]
    timezone: Annotated[str, Meta(min_length=1, max_length=64, description="an IANA time zone")] = "UTC"
    missed: Annotated[
        Literal["skip", "once"],
        _about("runs missed while the coordinator was down: none, or one to catch up"),
    ] = "skip"


class Debounce(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of events in quick succession, of one key, only the last counts."""

    wait: Annotated[Duration, _about("start this long after the last event")]
    max: Annotated[Duration | None, _about("start at latest this long after the first event")] = None


class Throttle(Struct, frozen=True, forbid_unknown_fields=True):
    """Of one key, start at most so many runs in such a time; further events start nothing."""

    limit: Annotated[Count, _about("runs")]
    per: Annotated[Duration, _about("e.g. 1m")]


class Trigger(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"if_": "if"}):
    """What starts a run: an `event`, or a `schedule`. `key` is a CEL expression: one live run per key."""

    event: Annotated[
        EventPattern | None, _about("a CloudEvents type; a `*` at the end matches any suffix")
    ] = None
    schedule: Annotated[Schedule | None, _about("by the clock, instead of by an event")] = None
    if_: Annotated[Expression | None, _about("CEL: only events for which this is true")] = None
    key: Annotated[Expression | None, _about("CEL: the business key; one live run per key")] = None
    input: Annotated[Template | None, _about("the run's input (template); absent: the event's data")] = None
    debounce: Annotated[Debounce | None, _about("of events in quick succession only the last counts")] = None
    throttle: Annotated[Throttle | None, _about("start no more than so many runs in such a time")] = None


class Concurrency(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many runs of a group may be under way at once, and what becomes of one too many."""

    group: Annotated[str, Meta(min_length=1, max_length=512, description="the group's name (template)")]
    limit: Annotated[Count, _about("runs at once")] = 1
    on_conflict: Annotated[
        Literal["queue", "reject", "cancel_running"], _about("wait, start nothing, or cancel those that run")
    ] = "queue"


class Workflow(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole document. `input` is the JSON Schema of a run's input, `output` a template."""

    workflow: Annotated[WorkflowName, _about("the workflow's name")]
    steps: Annotated[list[Step], Meta(min_length=1, max_length=MAX_STEPS, description="what to do")]
    description: Annotated[str, _about("one line for people")] = ""
    triggers: Annotated[list[Trigger], _about("what starts a run")] = field(default_factory=list)
    input: Annotated[dict[str, Any], _about("JSON Schema of the run's input")] = field(default_factory=dict)
    output: Annotated[Any, _about("the run's output (template)")] = msgspec.UNSET
    timeout: Annotated[Duration | None, _about("limit of a whole run; past it the run goes back")] = None
    concurrency: Annotated[Concurrency | None, _about("how many runs of a group at once")] = None
    priority: Annotated[Priority, _about("0 to 9, higher goes first")] = DEFAULT_PRIORITY
