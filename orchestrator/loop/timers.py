"""When each live run must next be looked at. The truth is `runs.wake_at`; this is its heap in memory."""

from heapq import heapify, heappop, heappush

from schemas.times import Micros

__all__ = ["Timers"]

SPARE = 1_000
"""How many stale entries the heap may hold beside as many as there are wake-ups."""


class Timers:
    """One wake-up per run. Setting a new one replaces the old; stale heap entries are skipped when met."""

    def __init__(self) -> None:
        self._at: dict[str, Micros] = {}
        self._heap: list[tuple[Micros, str]] = []

    def __len__(self) -> int:
        """How many runs have a wake-up, which is how many are in motion."""
        return len(self._at)

    def at(self, run_id: str) -> Micros | None:
        """When `run_id` is to be woken."""
        return self._at.get(run_id)

    def set(self, run_id: str, at: Micros | None) -> None:
        """Wake `run_id` at `at`; None: not at all."""
        if at is None:
            self._at.pop(run_id, None)
        elif self._at.get(run_id) != at:
            self._at[run_id] = at
            heappush(self._heap, (at, run_id))
            if len(self._heap) > 2 * len(self._at) + SPARE:  # time limits are long: most are never met
                self._heap = [(at, run_id) for run_id, at in self._at.items()]
                heapify(self._heap)

    def next_at(self) -> Micros | None:
        """When the earliest wake-up is."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: Micros) -> list[str]:
        """The runs whose time has come, each once. They stay set until `set` again, after the commit."""
        ready: list[str] = []
        taken: list[tuple[Micros, str]] = []
        while (at := self.next_at()) is not None and at <= now:
            taken.append(heappop(self._heap))
            ready.append(taken[-1][1])
        for entry in taken:
            heappush(self._heap, entry)
        return list(dict.fromkeys(ready))
