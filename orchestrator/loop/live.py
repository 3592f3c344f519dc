"""The live runs as the loop has them at hand: when each must be looked at, and which are in motion."""

from collections.abc import Iterable

from orchestrator.core.model import Run
from orchestrator.core.motion import waits_for
from orchestrator.loop.timers import Timers
from schemas.times import Micros

__all__ = ["LiveRuns"]


class LiveRuns:
    """Wake-ups of all live runs; of those in motion the runs themselves, since they are needed again soon.

    A run is in motion while an attempt of it is under way or due. One that only waits, be it for an event, a
    person, its time, another run or a slot, takes up no room among the active ones.
    """

    def __init__(self) -> None:
        self.timers = Timers()
        self.runs: dict[str, Run] = {}
        self._parents: dict[str, Run] = {}

    @property
    def active(self) -> int:
        """How many runs are in motion."""
        return len(self.runs)

    def at_hand(self, run_id: str) -> Run | None:
        """A run that need not be loaded, as it was last committed."""
        return self.runs.get(run_id) or self._parents.get(run_id)

    def committed(self, runs: Iterable[Run]) -> None:
        """These runs are as the store has them now."""
        for run in runs:
            run_id = run.head.id
            self.timers.set(run_id, run.wake_at)
            waiting = waits_for(run)
            if run.ended is not None or waiting:
                self.runs.pop(run_id, None)
            else:
                self.runs[run_id] = run
            if waiting == "child":
                self._parents[run_id] = run  # each of its children may soon have something to say
            else:
                self._parents.pop(run_id, None)

    def wake(self, run_id: str, at: Micros) -> None:
        """A stored wake-up, or another time for it."""
        self.timers.set(run_id, at)
