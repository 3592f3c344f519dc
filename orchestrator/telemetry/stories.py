"""What is told of a run's or a task's way before its span ends: the events in it, and what was done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptSucceeded,
    CancelSent,
    EventEmitted,
    Fact,
    PivotPassed,
    QuerySent,
    RunEnded,
    RunGoingBack,
    RunHeld,
    RunMoved,
    RunPaused,
    RunResumed,
    StepExpanded,
    StepsKept,
    StepsReset,
    TaskDone,
    TaskInDoubt,
    TaskResolved,
    TaskWaiting,
)
from orchestrator.core.model import Wait
from schemas.times import Micros

__all__ = ["MAX_EVENTS", "Attribute", "SpanEvent", "Story", "tell", "tell_run", "without_payload"]

Attribute = str | int

MAX_EVENTS: Final = 100
"""Most events of one span; retries can be many."""

_NOTHING: Final[Mapping[str, Attribute]] = {}


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """A moment within a span."""

    name: str
    at: Micros
    attributes: Mapping[str, Attribute]


@dataclass(slots=True)
class Story:
    """What is told of a task's work, or of a run, before its span ends.

    `action`: what an agent was asked to do. `wait`: what else was waited for, `child`: which run. `emitted`:
    the type of the event that was published. `since`: when a person had it tried again.
    """

    action: str = ""
    wait: str = ""
    child: str = ""
    emitted: str = ""
    since: Micros | None = None
    events: list[SpanEvent] = field(default_factory=list)

    def add(self, name: str, at: Micros, attributes: Mapping[str, Attribute] = _NOTHING) -> None:
        """Note a moment, while there is room."""
        if len(self.events) < MAX_EVENTS:
            self.events.append(SpanEvent(name, at, attributes))


def without_payload(fact: Fact) -> Fact:
    """The fact as far as spans need it: what people and systems put in is left out."""
    match fact:
        case StepExpanded(items=items) if items is not None:
            return replace(fact, items=[None] * len(items))
        case StepsKept():
            steps = {
                step: tuple(replace(task, output=None, item=None) for task in tasks)
                for step, tasks in fact.steps.items()
            }
            return replace(fact, steps=steps)
        case AttemptSucceeded() | TaskDone() | TaskResolved() | RunHeld() | RunEnded():
            return fact if fact.output is None else replace(fact, output=None)
        case TaskWaiting(wait=wait):
            return replace(fact, wait=Wait(wait.on, child=wait.child))
    return fact


def tell_run(story: Story, fact: Fact) -> None:
    """Note what happens to the run as a whole."""
    match fact:
        case RunGoingBack(failure=failure):
            where = {"baton.step": failure.step} if failure.step else {}
            story.add("baton.going_back", fact.at, {"error.type": failure.code} | where)
        case PivotPassed():
            story.add("baton.pivot.passed", fact.at, {"baton.step": fact.step})
        case RunPaused():
            story.add("baton.paused", fact.at)
        case RunResumed():
            story.add("baton.resumed", fact.at)
        case RunMoved():
            story.add("baton.moved", fact.at, {"baton.run.version": fact.version})
        case StepsReset():
            story.add("baton.steps.reset", fact.at)


_MOMENTS: Final[dict[type, str]] = {
    TaskInDoubt: "baton.in_doubt",
    QuerySent: "baton.query.sent",
    CancelSent: "baton.cancel.sent",
}


def tell(story: Story, fact: Fact) -> None:
    """Note what a reader of the trace wants to see of an attempt's way."""
    if (moment := _MOMENTS.get(type(fact))) is not None:
        story.add(moment, fact.at)
    match fact:
        case AttemptSent():
            story.action = fact.action
            if fact.attempt > 1:
                story.add("baton.retry", fact.at, {"baton.attempt": fact.attempt})
        case TaskWaiting():
            story.wait, story.child = str(fact.wait.on), fact.wait.child
            if fact.attempt > 1 and not fact.undo:
                story.add("baton.retry", fact.at, {"baton.attempt": fact.attempt})
        case EventEmitted():
            story.emitted = fact.type
        case AttemptFailed() if fact.undo or fact.retry_at is not None:  # the span goes on
            attributes = {"error.type": fact.error.code, "baton.outcome": fact.status}
            story.add("baton.attempt.failed", fact.at, attributes)
        case TaskResolved():
            story.add("baton.resolved", fact.at, {"baton.decision": fact.decision})
