"""Clocks and ids of the simulated processes, all from the seed."""

from collections.abc import Iterable
from datetime import datetime
from itertools import count
from random import Random

from schemas.times import Micros, to_datetime
from tests.simulation.clockwork import SimLoop

__all__ = ["EPOCH", "AgentWorld", "Clock", "CoordinatorWorld"]

EPOCH: Micros = 1_700_000_020_000_000
"""When every simulation begins: 2023-11-14 22:13:40 UTC."""


class Clock:
    """The wall clock of one node, which remembers how it was set."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._settings: list[tuple[float, Micros]] = [(loop.time(), 0)]
        """From when on it is wrong by how much."""

    @property
    def skew(self) -> Micros:
        """By how much it is wrong."""
        return self._settings[-1][1]

    @skew.setter
    def skew(self, skew: Micros) -> None:
        if skew != self.skew:
            self._settings.append((self._loop.time(), skew))

    @property
    def was_set(self) -> bool:
        """Whether somebody ever set it."""
        return len(self._settings) > 1

    def least_since(self, at: float) -> Micros:
        """The least that it showed since `at`, in seconds of the loop."""
        ends = [*(end for end, _ in self._settings[1:]), self._loop.time()]
        parts = [(begin, skew) for (begin, skew), end in zip(self._settings, ends, strict=True) if end >= at]
        return min(_shown(max(begin, at), skew) for begin, skew in parts)

    def most(self) -> Micros:
        """The most that it ever showed."""
        ends = [*(end for end, _ in self._settings[1:]), self._loop.time()]
        return max(_shown(end, skew) for (_, skew), end in zip(self._settings, ends, strict=True))

    def now(self) -> Micros:
        """Microseconds since the epoch, as this node believes."""
        return _shown(self._loop.time(), self.skew)


def _shown(at: float, skew: Micros) -> Micros:
    return EPOCH + round(at * 1_000_000) + skew


class CoordinatorWorld:
    """See `orchestrator.world.World`."""

    def __init__(self, clock: Clock, rng: Random, numbers: "count[int]") -> None:
        self._clock = clock
        self._rng = rng
        self._numbers = numbers

    def now(self) -> Micros:
        """The node's wall clock."""
        return self._clock.now()

    def jitter(self) -> float:
        """A random number in [0, 1)."""
        return self._rng.random()

    def run_id(self) -> str:
        """A short id that is never used again."""
        return f"run-{next(self._numbers)}"

    def hex_id(self, size: int) -> str:
        """Random bytes as hex, not all zero."""
        return f"{self._rng.randrange(1, 256**size):0{2 * size}x}"


class AgentWorld:
    """See `agents.world.World`."""

    def __init__(self, name: str, clock: Clock, numbers: "count[int]") -> None:
        self._name = name
        self._clock = clock
        self._numbers = numbers

    def now(self) -> datetime:
        """The node's wall clock."""
        return to_datetime(self._clock.now())

    def instance_id(self) -> str:
        """Which journal of this node it is."""
        return f"{self._name}-journal-{next(self._numbers)}"

    async def kill_marked(self, cookies: Iterable[str]) -> None:
        """A dead process took what it ran with it."""
