"""An event loop whose time is made up, and lives that can be ended or frozen between any two steps.

Time stands still while something is ready to run, then jumps to the next timer. Everything that a process of
the simulation does carries its `Life` in its context, so the loop knows whose step comes next: a dead life's
steps never run, as if the power had gone; a frozen life's steps wait.
"""

import asyncio
import contextvars
import heapq
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["LIFE", "Life", "NothingLeft", "SimLoop", "outside"]

T = TypeVar("T")

LIFE: contextvars.ContextVar["Life | None"] = contextvars.ContextVar("LIFE", default=None)
"""Whose step this is; None for the simulation's own."""

_BURIALS = 50
"""How often a coroutine of a dead life may go on waiting before it is given up."""


class NothingLeft(Exception):
    """Nothing is ready and no timer is set: whoever waits would wait for ever."""


@dataclass(eq=False)
class Life:
    """A process from its start, at the second `born`, to its end. `crash_at`: before which step it dies."""

    name: str
    number: int
    born: float = 0.0
    dead: bool = False
    frozen: bool = False
    steps: int = 0
    crash_at: int | None = None
    at_death: list[Callable[[], None]] = field(default_factory=list)
    """What the end of a process does outside of it: sockets and files are closed, locks let go."""
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    parked: list[asyncio.Handle] = field(default_factory=list)
    context: contextvars.Context = field(default_factory=contextvars.Context)

    def __post_init__(self) -> None:
        """Mark the context in which everything of this life runs."""
        self.context.run(LIFE.set, self)

    def __str__(self) -> str:
        """Its name, and which life of that name it is."""
        return f"{self.name}#{self.number}"

    def end(self) -> None:
        """Die at once: no step of it runs any more, and no clean-up of it reaches anything."""
        if self.dead:
            return
        self.dead = True
        self.parked.clear()
        for close in self.at_death:
            close()
        for task in self.tasks:
            self.context.copy().run(_bury, task)
        self.tasks.clear()


def _bury(task: asyncio.Task[Any]) -> None:
    """Take a task's coroutine apart, so that Python does not do so later and complain."""
    if task.done():
        return
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine = task.get_coro()
    for _ in range(_BURIALS):
        with suppress(BaseException):
            coroutine.close()
        if coroutine.cr_frame is None:  # type: ignore[union-attr]
            return


def outside(call: Callable[..., T], *args: Any) -> T:
    """Do something as the network or the broker: what it sets going belongs to no life."""
    return contextvars.Context().run(call, *args)


class SimLoop(asyncio.BaseEventLoop):
    """The loop. `on_crash` is called when a life's `crash_at` is reached; `steps` counts all that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.on_crash: Callable[[Life], None] = lambda life: life.end()
        self._lives: dict[int, Life] = {}
        self._now = 0.0
        self._cancelled = 0
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Made-up seconds since the loop began."""
        return self._now

    def create_task(
        self, coro: Any, *, name: object = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        """A task, known to the life that it is part of."""
        life = (context.get(LIFE) if context is not None else LIFE.get()) or None
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=str(name or ""), context=context)
        if life is not None:
            if life.dead:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            life.tasks.append(task)
            self._lives[id(task)] = life
            if len(life.tasks) > 64:
                life.tasks = [one for one in life.tasks if not one.done()]
        return task

    def life_of(self, task: object) -> Life | None:
        """The life that a task was part of."""
        return self._lives.get(id(task))

    def start(self, life: Life, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a life's work."""
        return self.create_task(work, context=life.context.copy())

    def thaw(self, life: Life) -> None:
        """Let a frozen life go on."""
        life.frozen = False
        self._ready.extend(life.parked)  # type: ignore[attr-defined]
        life.parked.clear()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        """Call `func` here and now: there are no threads."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            future.set_exception(error)
        return future

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """There are no threads."""
        return self.call_soon(callback, *args, context=context)

    def _process_events(self, event_list: Any) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _run_once(self) -> None:
        """Run what is ready; if nothing is, let time jump to the next timer."""
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                if self._stopping:  # type: ignore[attr-defined]
                    return
                raise NothingLeft
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled and self._may_run(handle):
                self.steps += 1
                handle._run()

    def _may_run(self, handle: asyncio.Handle) -> bool:
        """Whether whose step this is lives; this may be where it dies."""
        life = handle._context.get(LIFE)  # type: ignore[attr-defined]
        if life is None:
            return True
        if life.dead:
            return False
        if life.frozen:
            life.parked.append(handle)
            return False
        life.steps += 1
        if life.steps == life.crash_at:
            self.on_crash(life)
            return not life.dead
        return True

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers are dropped when they come up, and all at once when there are many."""
        timers = self._scheduled  # type: ignore[attr-defined]
        self._cancelled += 1
        if self._cancelled > 200 and self._cancelled * 2 > len(timers):
            timers[:] = [timer for timer in timers if not timer._cancelled]
            heapq.heapify(timers)
            self._cancelled = 0
