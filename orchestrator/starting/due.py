"""What comes due by itself and starts a run, as it is put into the coordinator's loop."""

from msgspec import Struct

from orchestrator.store.starting import DebouncedEvent, StoredSchedule
from schemas.events import Event

__all__ = ["AdmitQueued", "DebounceDue", "PlanSchedules", "ScheduleDue"]


class AdmitQueued(Struct, frozen=True):
    """A queued run's group seems to have room for it."""

    run_id: str


class ScheduleDue(Struct, frozen=True):
    """A schedule's time has come; `event` is what it makes."""

    schedule: StoredSchedule
    event: Event


class DebounceDue(Struct, frozen=True):
    """Nothing came after this event for long enough."""

    waiting: DebouncedEvent


class PlanSchedules(Struct, frozen=True):
    """The workflow's schedules are not what they would be planned as now: the clock has been set back."""

    workflow: str
