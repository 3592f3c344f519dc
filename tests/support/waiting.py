"""Waiting for something to become true, with a bound and no fixed sleep."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["until"]

T = TypeVar("T")


async def until(holds: Callable[[], T | Awaitable[T]], timeout: float = 10.0, every: float = 0.01) -> T:  # noqa: ASYNC109
    """Call `holds` until what it gives (or its coroutine gives) is true, and return that; all in seconds.

    Fails with the last value when it is not true in time.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        found = holds()
        value = await found if inspect.isawaitable(found) else found
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not true within {timeout} s; the last value was {value!r}")
        await asyncio.sleep(every)
