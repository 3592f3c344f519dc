"""Starts what triggers ask for, as far as key, debounce, throttle and concurrency group allow."""

from orchestrator.core.inputs import AdmitRun
from orchestrator.loop.work import Work
from orchestrator.starting.groups import GroupBusy
from orchestrator.starting.outcomes import Outcome, settled
from orchestrator.starting.pacing import pace_key, trigger_of
from orchestrator.starting.triggers import Refused, Wanted, check_input
from orchestrator.store.starting import DebouncedEvent
from schemas.errors import InvalidInput
from schemas.events import Event
from schemas.times import to_rfc3339

__all__ = ["admit", "end_debounce", "take_wanted"]


def take_wanted(work: Work, event: Event, want: Wanted | Refused, traceparent: str) -> Outcome:
    """Start what an event asks for, or let it wait for later events; what became of it."""
    if isinstance(want, Refused):
        return Outcome("rejected", reason=f"{want.workflow}: {want.reason}")
    trigger = trigger_of(want.definition, want.number)
    if trigger is None or trigger.debounce is None:
        return _start(work, event, want, traceparent)
    waiting = work.starting.pace.hold(want, trigger.debounce, event, traceparent, work.now)
    until = to_rfc3339(waiting.due_at)
    return Outcome(
        "debounced", reason=f"{want.definition.name}: until {until} a later event may take its place"
    )


def end_debounce(work: Work, waiting: DebouncedEvent) -> None:
    """Start what a debounced event asks for, and settle what became of it.

    The current definition is the one that runs; key and input are what the trigger gave when the event came.
    """
    if not work.starting.pace.take(waiting):
        return
    definition = work.definitions.current.get(waiting.workflow)
    problem = "cannot be read any more" if definition is None else check_input(definition, waiting.input)
    if definition is None or problem:
        outcome = Outcome("rejected", reason=f"{waiting.workflow}: {problem}")
    else:
        want = Wanted(definition, waiting.key, waiting.input, waiting.number)
        outcome = _start(work, waiting.event, want, waiting.traceparent)
    known = work.events.get((waiting.event.source, waiting.event.id))
    work.settle(settled(known, waiting.event, outcome, work.now))


def admit(work: Work, run_id: str) -> None:
    """Let a queued run begin, if its group still has room for it."""
    if run_id in work.runs and work.starting.groups.may_begin(run_id):
        work.apply(run_id, AdmitRun())


def _start(work: Work, event: Event, want: Wanted, traceparent: str) -> Outcome:
    name = want.definition.name
    live = work.live_run(name, want.key)
    if live is not None:
        return Outcome("duplicate", [live], f"{name}: key '{want.key}' belongs to the live run {live}")
    trigger, key = trigger_of(want.definition, want.number), pace_key(want)
    throttle = None if trigger is None else trigger.throttle
    if throttle is not None and not work.starting.pace.has_room(key, throttle):
        per = throttle.per / 1_000_000
        return Outcome("throttled", reason=f"{name}: {throttle.limit} runs have started within {per:g} s")
    try:
        run_id = work.start_run(want.definition, want.key, want.input, event, traceparent)
    except (InvalidInput, GroupBusy) as error:
        return Outcome("rejected", reason=f"{name}: {error.message}")
    if throttle is not None:
        work.starting.pace.count(key, throttle, work.now)
    return Outcome("started", [run_id])
