"""How a long-lived process runs and ends."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run", "supervise"]

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on uvloop, which is faster, or on asyncio's own loop where there is no uvloop."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


async def supervise(*parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until one ends or fails or the process is asked to stop, then cancel and await the rest.

    Asked means SIGINT or SIGTERM; a second one ends the process at once. A failure is raised.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    asked = (signal.SIGINT, signal.SIGTERM)
    for number in asked:
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.ensure_future(part) for part in (stop.wait(), *parts)]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for number in asked:
            loop.remove_signal_handler(number)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # it is not made for every platform
        return None
    return uvloop.new_event_loop
