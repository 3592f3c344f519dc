"""Virtual time: what happens next is whatever is due next, and nothing is ever waited for."""

from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Final

from schemas.times import Micros, format_duration

__all__ = ["BEGINNING", "Clock", "moment_text"]

BEGINNING: Final[Micros] = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""


class Clock:
    """The world of one scenario: its time, its chance (none) and its ids, and what is still to happen."""

    def __init__(self, beginning: Micros = BEGINNING) -> None:
        self.beginning = beginning
        self._now = beginning
        self._heap: list[tuple[Micros, int, Callable[[], None]]] = []
        self._count = 0
        self._ids = 0

    @property
    def elapsed(self) -> Micros:
        """Microseconds since the beginning."""
        return self._now - self.beginning

    def after(self, delay: Micros, happen: Callable[[], None]) -> None:
        """Let something happen that long from now; at one time, in the order of these calls."""
        self._count += 1
        heappush(self._heap, (self._now + delay, self._count, happen))

    def next_at(self) -> Micros | None:
        """When the next thing happens."""
        return self._heap[0][0] if self._heap else None

    def advance(self, at: Micros) -> None:
        """Let it be `at`; time never goes back."""
        self._now = max(self._now, at)

    def happen(self) -> None:
        """Let the next thing happen, at its time."""
        at, _, happen = heappop(self._heap)
        self.advance(at)
        happen()

    # what the coordinator asks of the outside

    def now(self) -> Micros:
        """Virtual wall-clock time."""
        return self._now

    def jitter(self) -> float:
        """The middle: every wait is as long as the document says."""
        return 0.5

    def run_id(self) -> str:
        """Ids that sort by time, the same at every playing."""
        self._ids += 1
        return f"run-{self._ids:06d}"

    def hex_id(self, size: int) -> str:
        """Bytes that are different each time, the same at every playing."""
        self._ids += 1
        return blake2b(str(self._ids).encode(), digest_size=size).hexdigest()


def moment_text(elapsed: Micros) -> str:
    """A time since the beginning, for people: `0s`, `1500ms`, `2m`, `1m 30s`, `1d 2h`."""
    parts = []
    for unit in (86_400_000_000, 3_600_000_000, 60_000_000):
        if elapsed >= unit:
            parts.append(format_duration(elapsed - elapsed % unit))
            elapsed %= unit
    if elapsed or not parts:
        parts.append(f"{elapsed / 1_000_000:g}s")
    return " ".join(parts[:3])
