"""Waiting for something to become true, with a bound and no fixed sleep."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["eventually", "until"]

T = TypeVar("T")
EVERY = 0.01  # seconds


async def until(holds: Callable[[], object], within: float = 10.0, *, what: str = "the condition") -> None:
    """Look until `holds` gives something true; fail after `within` seconds."""

    async def look() -> bool | None:
        return True if holds() else None

    await eventually(look, within, what=what, every=EVERY)


async def eventually(
    ask: Callable[[], Awaitable[T | None]],
    within: float = 10.0,
    *,
    what: str = "the condition",
    every: float = 0.05,
) -> T:
    """Ask every so often until the answer is not None, and return it; fail after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while (answer := await ask()) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what} was not met within {within} s")
        await asyncio.sleep(every)
    return answer
