"""What an event does: it starts runs, and is given to tasks that wait for it, now or a while later."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.inputs import EventArrived
from orchestrator.core.model import Run
from orchestrator.definitions import Definitions
from orchestrator.loop.intake import LookForEvent
from orchestrator.loop.wanted import take_wanted
from orchestrator.loop.work import Work
from orchestrator.starting.due import ScheduleDue
from orchestrator.starting.outcomes import Outcome, delivered_later, inbox_record
from orchestrator.starting.pacing import trigger_of
from orchestrator.starting.triggers import Refused, Wanted, wanted_by, wanted_runs
from orchestrator.store.port import InboxRecord, Place, WaitingTask
from schemas.events import Event, event_scope, hops_of

__all__ = [
    "KEPT_AT_ONCE",
    "NOTHING",
    "Matched",
    "match_event",
    "match_schedule",
    "offer_kept",
    "receive_event",
]

KEPT_AT_ONCE: Final = 1_000
"""How many kept events a waiting task is offered at once."""


class Matched(Struct, frozen=True):
    """What an event asks for: runs to start, and where tasks may wait for it."""

    wants: list[Wanted | Refused] = []
    places: list[Place] = []


NOTHING: Final = Matched()


def match_event(event: Event, definitions: Definitions) -> Matched:
    """What an event asks for of the definitions that are known."""
    scope = event_scope(event)
    wants = wanted_runs(event.type, scope, definitions.current.values())
    return Matched(wants, definitions.awaits.places(event.type, scope))


def match_schedule(due: ScheduleDue, definitions: Definitions) -> Matched:
    """What a schedule's event asks for by its trigger, if that is still there."""
    definition, number = definitions.current.get(due.schedule.workflow), due.schedule.number
    if definition is None or trigger_of(definition, number) is None:
        return NOTHING
    want = wanted_by(definition, number, event_scope(due.event))
    return NOTHING if want is None else Matched([want])


def receive_event(work: Work, event: Event, matched: Matched, traceparent: str) -> InboxRecord:
    """Take in an event once, whatever comes of it; rule 1 and the inbox decide (`docs/rules.md`)."""
    seen = work.events.get((event.source, event.id))
    if seen is not None:
        return seen
    hops, limit = hops_of(event), work.settings.max_event_hops
    if matched.wants and hops > limit:
        reason = (
            f"{hops} runs in a row were started by each other's events, more than {limit} (max_event_hops)"
        )
        outcomes = [Outcome("rejected", reason=reason)]
    else:
        outcomes = [take_wanted(work, event, want, traceparent) for want in matched.wants]
    if matched.places:
        outcomes.append(_deliver(work, event_scope(event), matched.places))
    record = inbox_record(event, outcomes, work.now)
    work.record(record)
    return record


def offer_kept(work: Work, asked: LookForEvent) -> None:
    """Give a waiting task the first that fits of the events that came before."""
    one = asked.waiting
    kept = work.loaded.kept.get(one.key, [])
    for event in kept:
        run = work.runs.get(one.run_id)
        if run is None or not _waits(run, one):
            return
        if _give(work, [one], event.event):
            known = work.events.get((event.event["source"], event.event["id"]))
            if known is not None:  # else the inbox has forgotten it
                work.settle(delivered_later(known, one.run_id))
    run = work.runs.get(one.run_id)
    if len(kept) == KEPT_AT_ONCE and run is not None and _waits(run, one):
        work.look_ups.append(LookForEvent(one, after=kept[-1].num))


def _deliver(work: Work, scope: dict[str, Any], places: list[Place]) -> Outcome:
    """Give an event to the tasks that wait for it, and keep it for those to come.

    When very many wait, the others find it among the kept ones, in batches to come.
    """
    tasks = [one for place in places for one in work.loaded.waiting.get(place, ())]
    room = work.settings.max_batch
    runs: dict[str, list[WaitingTask]] = {}
    for one in tasks[:room]:
        runs.setdefault(one.run_id, []).append(one)
    delivered = [run_id for run_id, some in runs.items() if _give(work, some, scope)]
    for place in places:
        work.keep_event(place, scope)
    work.look_ups.extend(LookForEvent(one) for one in tasks[room:])
    if delivered:
        return Outcome("delivered", delivered)
    return Outcome(
        "no_trigger", reason=f"kept for {work.settings.keep_events:g} s: a run may come to wait for it"
    )


def _give(work: Work, tasks: list[WaitingTask], scope: Mapping[str, Any]) -> bool:
    """Offer an event to tasks of one run; whether one of them took it."""
    run = work.runs.get(tasks[0].run_id)
    if run is None:
        return False
    waiting = [one for one in tasks if _waits(run, one)]
    if not waiting:
        return False
    work.apply(run.head.id, EventArrived(dict(scope), [(one.step, one.host_index) for one in waiting]))
    name, after = (scope["source"], scope["id"]), work.runs[run.head.id]
    return any(
        after.steps[one.step][one.host_index].event == name and not _waits(after, one)
        for one in waiting  # one that is done again has had its event before, and still waits
    )


def _waits(run: Run, one: WaitingTask) -> bool:
    """Whether the task still waits there; since it was looked up it may have gone on."""
    tasks = run.steps.get(one.step, ())
    wait = tasks[one.host_index].wait if one.host_index < len(tasks) and run.ended is None else None
    return wait is not None and (wait.topic, wait.value) == one.place
