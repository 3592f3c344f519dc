"""A function in a thread of its own."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["in_thread"]


def in_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Run `call` in a new thread that cannot hold up the process's end; the future has what became of it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    carried = contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = carried.run(call)
        except StopIteration as raised:  # no future can hold it
            error = RuntimeError(f"it raised StopIteration: {raised}")
        except BaseException as raised:  # noqa: BLE001 - it is raised where the result is awaited
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="action", daemon=True).start()
    return done
