"""The scenario file: what happens to workflows, and what must come of it. `baton test` plays it.

A file holds workflows and scenarios. Time is virtual and begins at 0; agents are simulated. Whatever is not
said happens in the simplest way: every command is taken at once and succeeds at once.

Commands are named in one line of text, here and in what is expected:

    STEP   undo STEP   cancel STEP   query STEP   cancel undo STEP   query undo STEP
    STEP[INDEX]   STEP#ATTEMPT   STEP on AGENT   STEP in RUN   (any of them together, in this order)
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field

from schemas.workflow import Duration

__all__ = [
    "ANSWERS",
    "CANCEL_ANSWERS",
    "MOVES",
    "OUTCOMES",
    "AgentSpec",
    "AgentTrouble",
    "Expected",
    "ExpectedCommand",
    "ExpectedEvent",
    "ExpectedRun",
    "ExpectedStep",
    "Failure",
    "GivenEvent",
    "GivenResult",
    "Happening",
    "Outcome",
    "Scenario",
    "ScenarioFile",
    "Start",
]

OUTCOMES: Final = (
    "succeed",
    "fail",
    "reject",
    "hang",
    "lost",
    "silent",
    "never_taken",
    "dropped",
    "no_queue",
)
"""What can become of an attempt.

- `hang`: its agent kills it at its time limit.
- `lost`: its agent restarts in the middle, and does not know.
- `silent`: its agent is never heard of again, whatever it is asked.
- `never_taken`: it expires in its queue; so does whatever is asked about it.
- `dropped`: it is lost on its way, and nobody knows of it.
- `no_queue`: no queue takes it.
"""

ANSWERS: Final = ("running", "never_seen", "unknown", "finished", "silent")
"""What an agent can say when it is asked about a command; by default what is true."""

CANCEL_ANSWERS: Final = ("stop", "finish", "fail", "ignore", "silent")
"""What an agent can do when it is told to stop an action. `finish`: too late, it succeeds now."""

MOVES: Final = ("cancel", "pause", "resume", "retry", "retry_now", "move", "resolve", "approve", "reject")
"""What a person can do to a run. `move`: let it keep to the version that is applied now."""


def _about(text: str) -> Meta:
    return Meta(description=text)


Text = Annotated[str, Meta(min_length=1, max_length=500)]
CommandText = Annotated[str, Meta(min_length=1, max_length=500, description="for example: undo charge#2")]


class _Shape(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all parts of a scenario have in common: a field that is not known is a mistake."""


class AgentSpec(_Shape, frozen=True):
    """A simulated agent."""

    labels: Annotated[dict[str, str], _about("its labels")] = field(default_factory=dict)
    pools: Annotated[list[Text], _about("pools it takes commands from")] = field(default_factory=list)


class Start(_Shape, frozen=True):
    """A run started by hand."""

    workflow: Annotated[Text | None, _about("absent: the first workflow of the file")] = None
    key: Annotated[str, _about("its business key")] = ""
    input: Annotated[Any, _about("its input; absent: an empty map")] = msgspec.UNSET


class GivenEvent(_Shape, frozen=True):
    """A business event that arrives."""

    type: Annotated[Text, _about("its CloudEvents type")]
    data: Annotated[Any, _about("its data")] = msgspec.UNSET
    source: Annotated[Text, _about("with `id` it names the event for good")] = "/scenario"
    id: Annotated[Text | None, _about("absent: a new one")] = None
    subject: Annotated[Text | None, _about("its subject")] = None


class Outcome(_Shape, frozen=True):
    """What becomes of one attempt, and how its agent tells."""

    do: Annotated[
        Text | None, _about(f"one of {', '.join(OUTCOMES)}; absent: succeed, or fail with a code")
    ] = None
    output: Annotated[Any, _about("what the action gives")] = None
    code: Annotated[Text | None, _about("the error's code")] = None
    message: Annotated[str, _about("the error's message")] = ""
    retryable: Annotated[bool, _about("whether the error may be gone at another attempt")] = True
    waits: Annotated[Duration | None, _about("how long the command waits at its agent for its turn")] = None
    takes: Annotated[Duration | None, _about("how long the action runs; absent: no time")] = None
    late: Annotated[Duration | None, _about("how long the result is on its way")] = None
    again: Annotated[Duration | None, _about("the result comes a second time, so long after the first")] = (
        None
    )
    quiet: Annotated[bool, _about("the agent does not say that it has started")] = False
    reorder: Annotated[bool, _about("that it has started arrives after the result")] = False
    by: Annotated[Text | None, _about("of a pool: which agent takes it")] = None
    poses_as: Annotated[Text | None, _about("the result comes in the name of this other agent")] = None
    probe: Annotated[Text | None, _about("of lost: what a probe finds: succeeded, never_seen or unknown")] = (
        None
    )
    on_cancel: Annotated[Text, _about(f"one of {', '.join(CANCEL_ANSWERS)}")] = "stop"
    on_query: Annotated[
        Text | list[Text] | None,
        _about(f"{', '.join(ANSWERS)}; a list: one after another; absent: the truth"),
    ] = None


Outcomes = Text | Outcome | list[Text | Outcome]


class GivenResult(_Shape, frozen=True):
    """A result out of the blue, of any step and attempt."""

    step: Text
    status: Annotated[Text, _about("a result's status, as on the wire")]
    undo: Annotated[bool, _about("it speaks of the undo")] = False
    attempt: Annotated[int, Meta(ge=0, le=10_000)] = 1
    host_index: Annotated[int, Meta(ge=0, le=10_000)] = 0
    agent: Annotated[Text | None, _about("who says so; absent: whom the step names")] = None
    output: Any = None
    code: Text | None = None


class AgentTrouble(_Shape, frozen=True):
    """Something that happens to an agent. `rebuilt`: it comes back without its journal, as a new instance."""

    name: Text
    to: Annotated[Text, _about("down, up or rebuilt")]


class Failure(_Shape, frozen=True):
    """Why a run goes back. `step` is empty for the run itself."""

    step: str | None = None
    code: Text | None = None


class ExpectedStep(_Shape, frozen=True):
    """What must be true of a step; what is absent may be anything."""

    status: Text | None = None
    attempts: Annotated[int | None, _about("forward attempts of its one task")] = None
    undo_attempts: Annotated[int | None, _about("attempts to undo its one task")] = None
    output: Annotated[Any, _about("its output")] = msgspec.UNSET
    error: Annotated[str | None, _about("its error's code; empty: none")] = None
    undo_error: Annotated[str | None, _about("the code of its undo's error")] = None
    tasks: Annotated[list[Text] | None, _about("the status of each task, in order")] = None


class ExpectedRun(_Shape, frozen=True):
    """What must be true of a run; what is absent may be anything."""

    status: Text | None = None
    reason: Annotated[Text | None, _about("a part of the reason it gives")] = None
    failure: Failure | None = None
    steps: Annotated[
        dict[str, Text | ExpectedStep], _about("by the step's id; steps not named may be as they are")
    ] = field(default_factory=dict)
    output: Any = msgspec.UNSET
    key: str | None = None
    took: Annotated[Duration | None, _about("from its start to its end")] = None


class ExpectedCommand(_Shape, frozen=True):
    """A command with details, or with `any` several that may come in any order."""

    command: CommandText | None = None
    at: Annotated[Duration | None, _about("when it is sent")] = None
    with_: Annotated[Any, _about("its arguments")] = field(default=msgspec.UNSET, name="with")
    any: Annotated[
        list[CommandText | list[CommandText | list[CommandText]]] | None,
        _about("commands, or lists that keep their order, mixed in any way; a list in one: side by side"),
    ] = None


class ExpectedEvent(_Shape, frozen=True):
    """An event that a run publishes; what is absent may be anything."""

    type: Text
    data: Any = msgspec.UNSET
    subject: str | None = None
    at: Duration | None = None


class Expected(ExpectedRun, frozen=True):
    """What must be true in the end, or when it is asked. Of the first run, unless `runs` says otherwise."""

    commands: Annotated[
        list[CommandText | ExpectedCommand | list[CommandText | ExpectedCommand]] | None,
        _about("all commands in order; a list within: side by side, none answered before all were sent"),
    ] = None
    never: Annotated[list[CommandText], _about("commands that must not be sent")] = field(
        default_factory=list
    )
    runs: Annotated[dict[str, Text | ExpectedRun] | None, _about("all runs, by their names")] = None
    events: Annotated[list[Text | ExpectedEvent] | None, _about("all events that runs publish, in order")] = (
        None
    )
    inbox: Annotated[list[Text] | None, _about("what became of each event that arrived")] = None
    recorded: Annotated[dict[str, int], _about("how many facts of a kind the first run's history has")] = (
        field(default_factory=dict)
    )
    refused: Annotated[list[Text] | None, _about("the document is refused; its reasons have these parts")] = (
        None
    )


class Happening(_Shape, frozen=True):
    """Something that happens at a time, or when something has come about; exactly one thing."""

    at: Annotated[Duration | None, _about("when, from the beginning")] = None
    when: Annotated[
        Text | None, _about("`STEP STATUS`, `run STATUS` or `COMMAND sent`, perhaps `… in RUN`")
    ] = None
    after: Annotated[Duration | None, _about("so long after that")] = None
    start: Start | None = None
    event: GivenEvent | None = None
    do: Annotated[Text | None, _about(f"a person's move: {', '.join(MOVES)}")] = None
    result: GivenResult | None = None
    agent: AgentTrouble | None = None
    coordinator: Annotated[Text | None, _about("it goes down, or comes up again")] = None
    apply: Annotated[Text | dict[str, Any] | None, _about("a workflow document, or its file")] = None
    expect: Annotated[Expected | None, _about("what must be true at this time")] = None
    run: Annotated[Text | None, _about("of a move, which run; absent: the first")] = None
    step: Annotated[Text | None, _about("of a move, which step")] = None
    host_index: Annotated[int, Meta(ge=0, le=10_000)] = 0
    decision: Annotated[Text | None, _about("of resolve: retry, skip or done")] = None
    output: Annotated[Any, _about("of resolve with done: the step's output")] = None
    who: Text = "ops"
    why: str = ""
    refused: Annotated[Text | None, _about("the error's code, of a move that must be refused")] = None


class Scenario(_Shape, frozen=True):
    """One scenario.

    Without `start` or `event`, here or in `happens`, the first workflow is started at once, unless a workflow
    has a schedule.
    """

    name: Annotated[Text, _about("what must hold, in one line")]
    rules: Annotated[list[int], _about("the rules it is about")] = field(default_factory=list)
    about: Annotated[str, _about("more, for people")] = ""
    workflow: Annotated[Text | dict[str, Any] | None, _about("its own workflow: a document, or its file")] = (
        None
    )
    workflows: Annotated[list[Text | dict[str, Any]], _about("its own workflows")] = field(
        default_factory=list
    )
    agents: Annotated[dict[str, AgentSpec] | None, _about("absent: every agent that is named is there")] = (
        None
    )
    settings: Annotated[dict[str, Any], _about("the coordinator's settings that differ from the default")] = (
        field(default_factory=dict)
    )
    now: Annotated[Text | None, _about("the time at the beginning (RFC 3339)")] = None
    start: Start | None = None
    event: GivenEvent | None = None
    outcomes: Annotated[
        dict[str, Outcomes],
        _about("by command; a list: one attempt after another, the last one again and again"),
    ] = field(default_factory=dict)
    happens: list[Happening] = field(default_factory=list)
    until: Annotated[
        Duration | None, _about("when to look; absent: when nothing is left to happen, at most 30d")
    ] = None
    expect: Expected = field(default_factory=Expected)


class ScenarioFile(_Shape, frozen=True):
    """A file of scenarios; what stands beside them holds for each that does not say otherwise."""

    scenarios: Annotated[list[Scenario], Meta(min_length=1, max_length=1_000)]
    about: Annotated[str, _about("what they have in common")] = ""
    workflow: Annotated[Text | dict[str, Any] | None, _about("a workflow document, or its file")] = None
    workflows: Annotated[list[Text | dict[str, Any]], _about("several")] = field(default_factory=list)
    agents: Annotated[dict[str, AgentSpec] | None, _about("absent: every agent that is named is there")] = (
        None
    )
    settings: dict[str, Any] = field(default_factory=dict)
