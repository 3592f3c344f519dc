"""Schedule triggers: when each is due next, and what is made of one that is late.

A schedule that is due becomes an event of our own making, which then goes the way of every event: its id has
the time in it, so that the inbox keeps a time from being started twice, whatever crashes and however the
clock jumps.

`Schedules` is what is committed; a batch decides on a `SchedulesInBatch` of its own.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from orchestrator.core.cron import next_after
from orchestrator.core.definition import Definition, ScheduleDef
from orchestrator.store.starting import StartingChanges, StoredSchedule
from schemas.events import Event, new_event
from schemas.times import Micros, to_rfc3339

__all__ = [
    "LATE",
    "SCHEDULE_EVENT",
    "Schedules",
    "SchedulesInBatch",
    "plan",
    "schedule_event",
    "step_on",
]

log = logging.getLogger(__name__)

LATE: Final[Micros] = 60_000_000
"""What was due longer ago than this was missed."""

SCHEDULE_EVENT: Final = "baton.schedule"
"""Type of the events that schedules make."""


def plan(definition: Definition, known: Iterable[StoredSchedule], now: Micros) -> tuple[StoredSchedule, ...]:
    """When the schedules of a definition are due, in place of those `known` of its workflow.

    One with the same cron expression and zone keeps its time, unless that lies beyond its next one by the
    clock: then the clock has been set back, and what lies between is due again (the inbox knows what has been
    started). One that never comes again is left out.
    """
    times = {(one.cron, one.timezone): one.next_at for one in known}
    found: list[StoredSchedule] = []
    for number, trigger in enumerate(definition.triggers, start=1):
        if trigger.schedule is None:
            continue
        cron, zone = trigger.schedule.cron, trigger.schedule.timezone
        planned = [at for at in (times.get((cron, zone)), next_after(cron, zone, now)) if at is not None]
        if planned:
            found.append(StoredSchedule(definition.name, number, cron, zone, min(planned)))
    return tuple(found)


def step_on(schedule: StoredSchedule, how: ScheduleDef | None, now: Micros) -> tuple[bool, Micros | None]:
    """Whether a schedule that is due starts something, and when it is due next (None: never).

    What is due since longer than `LATE` was missed: it is passed over together with all others missed since,
    after one start for all of them if the trigger wants to catch up. `how` is None when the trigger is gone,
    and the schedule with it.
    """
    if how is None:
        return False, None
    if now - schedule.next_at <= LATE:
        return True, next_after(schedule.cron, schedule.timezone, schedule.next_at)
    return how.catch_up, next_after(schedule.cron, schedule.timezone, now - LATE - 1)


def schedule_event(schedule: StoredSchedule, namespace: str) -> Event:
    """The event that a schedule makes at its time."""
    return new_event(
        id=f"{schedule.workflow}/{schedule.number}/{to_rfc3339(schedule.next_at)}",
        source=f"/baton/{namespace}/{schedule.workflow}",
        type=SCHEDULE_EVENT,
        at=schedule.next_at,
        data={"scheduled_at": to_rfc3339(schedule.next_at)},
    )


class Schedules:
    """The schedules of every workflow, as committed."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[StoredSchedule, ...]] = {}
        self.next_at: Micros | None = None

    def load(self, schedules: Iterable[StoredSchedule]) -> None:
        """Take up what the database holds."""
        for one in schedules:
            self._of[one.workflow] = (*self._of.get(one.workflow, ()), one)
        self._look()

    def commit(self, changes: Mapping[str, Sequence[StoredSchedule]]) -> None:
        """These workflows have these schedules from now on."""
        if changes:
            self._of.update((workflow, tuple(schedules)) for workflow, schedules in changes.items())
            self._look()

    def of(self, workflow: str) -> tuple[StoredSchedule, ...]:
        """The schedules of one workflow."""
        return self._of.get(workflow, ())

    def due(self, now: Micros) -> list[StoredSchedule]:
        """Those whose time has come, soonest first."""
        if self.next_at is None or self.next_at > now:
            return []
        found = (one for schedules in self._of.values() for one in schedules if one.next_at <= now)
        return sorted(found, key=lambda one: (one.next_at, one.workflow, one.number))

    def out_of_step(self, definitions: Iterable[Definition], now: Micros) -> list[Definition]:
        """The definitions whose schedules are not what they would be planned as now."""
        return [one for one in definitions if plan(one, self.of(one.name), now) != self.of(one.name)]

    def _look(self) -> None:
        self._of = {workflow: schedules for workflow, schedules in self._of.items() if schedules}
        times = (one.next_at for schedules in self._of.values() for one in schedules)
        self.next_at = min(times, default=None)


class SchedulesInBatch:
    """The schedules as they are on top of what was decided in this batch so far."""

    def __init__(
        self, committed: Callable[[str], tuple[StoredSchedule, ...]], changes: StartingChanges
    ) -> None:
        self._committed = committed
        self._changes = changes.schedules

    def apply(self, definition: Definition, now: Micros) -> None:
        """A definition becomes the current one: its schedules replace those of the one before."""
        known = self._of(definition.name)
        planned = plan(definition, known, now)
        if planned != known:
            self._changes[definition.name] = planned

    def take(self, schedule: StoredSchedule, definition: Definition | None, now: Micros) -> bool:
        """Move a schedule that is due on; whether something is to be started.

        False for one that has been moved or replaced meanwhile.
        """
        known = self._of(schedule.workflow)
        if schedule not in known:
            return False
        wanted, at = step_on(schedule, _trigger(definition, schedule), now)
        later = () if at is None else (replace(schedule, next_at=at),)
        index = known.index(schedule)
        self._changes[schedule.workflow] = (*known[:index], *later, *known[index + 1 :])
        if not wanted:
            log.info(
                "%s, trigger %d: missed %s",
                schedule.workflow,
                schedule.number,
                to_rfc3339(schedule.next_at),
            )
        return wanted

    def _of(self, workflow: str) -> tuple[StoredSchedule, ...]:
        return tuple(self._changes[workflow]) if workflow in self._changes else self._committed(workflow)


def _trigger(definition: Definition | None, schedule: StoredSchedule) -> ScheduleDef | None:
    """The trigger that a schedule is of, if it is still there."""
    if definition is None or schedule.number > len(definition.triggers):
        return None
    return definition.triggers[schedule.number - 1].schedule
