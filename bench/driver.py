"""The side of a driver: it reads orders from stdin, a line each, and answers each with a line of JSON.

Orders: `load N` (seconds that N sagas took, many at once), `lone N` (milliseconds of each of N sagas, one
after another), `count` (sagas and steps that the system's own books show as done). The end of stdin ends it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from bench.place import Place
from runtime.service import run

__all__ = ["STEPS", "Driver", "serve", "until"]

STEPS = ("one", "two", "three")
"""The steps of every saga."""


class Driver(Protocol):
    """What gives one system its work. An exception from any of these fails the benchmark."""

    async def open(self) -> None:
        """Return once the system takes work."""

    async def load(self, count: int) -> None:
        """Start `count` sagas as fast as the system takes them; return once all have succeeded."""

    async def lone(self) -> None:
        """Start one saga; return once it is known to have succeeded."""

    async def count(self) -> tuple[int, int]:
        """How many sagas and how many steps the system has recorded as done, since its start."""

    async def close(self) -> None:
        """Let go of everything."""


def serve(make: Callable[[Place], Driver]) -> None:
    """Be the driver of the place in the environment, until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries may print; answers are ours alone
    run(_serve(make, answers.write))


async def _serve(make: Callable[[Place], Driver], write: Callable[[str], Any]) -> None:
    driver = make(Place.here())
    await driver.open()
    try:
        write(json.dumps({"ready": True}) + "\n")
        while line := await asyncio.to_thread(sys.stdin.readline):
            write(json.dumps(await _obey(driver, *line.split())) + "\n")
    finally:
        await driver.close()


async def _obey(driver: Driver, order: str, count: str = "0") -> dict[str, Any]:
    if order == "load":
        return {"seconds": await _timed(driver.load(int(count)))}
    if order == "lone":
        return {"ms": [1000 * await _timed(driver.lone()) for _ in range(int(count))]}
    if order == "count":
        sagas, steps = await driver.count()
        return {"sagas": sagas, "steps": steps}
    raise ValueError(order)


async def _timed(work: Awaitable[None]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def until(holds: Callable[[], Awaitable[bool]], *, within: float, every: float = 0.05) -> None:
    """Wait until the condition holds; `TimeoutError` after `within` seconds."""
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(every)
