"""Running actions: a queue, a limit on how many at once, timeouts, cancelling, and how each ended."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from agents.answers import Outcome, error_info, failure, output_of, redacted
from agents.backlog import Backlog
from agents.context import Context, Stopped
from agents.limits import Limits
from agents.sdk import Body, TimedOut
from agents.threads import in_thread
from agents.world import World
from runtime.failpoint import failpoint
from schemas.messages import NOT_STOPPABLE, Command, ErrorInfo, ResultStatus

__all__ = ["Cause", "Finish", "Job", "NoTelemetry", "Runner", "RunnerEvents", "Telemetry"]

log = logging.getLogger(__name__)


class Cause(Enum):
    """Why a job was stopped; the value is the status that this gives."""

    TIMEOUT = ResultStatus.TIMED_OUT
    CANCEL = ResultStatus.CANCELLED
    SHUTDOWN = "shutdown"


@dataclass(slots=True, eq=False)
class Job:
    """One command on its way: journaled, perhaps queued, perhaps running, then ended."""

    command: Command
    body: Body
    arguments: dict[str, Any] = field(repr=False)
    """With the values of secrets: not for a log."""
    context: Context
    idempotent: bool
    started_at: datetime | None = None
    task: asyncio.Task[None] | None = None
    entered: bool = False
    """Whether the task has taken its first step; a task cancelled before that never runs at all."""
    cause: Cause | None = None
    announced: bool = False
    ended: bool = False
    progress: Any = None
    told_at: float = 0.0
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)

    @property
    def priority(self) -> int:
        """0 to 9; of those that wait, higher goes first."""
        return self.command.priority


Finish = Callable[[Outcome], None]


class Telemetry(Protocol):
    """What surrounds an attempt."""

    def attempt(self, job: Job) -> AbstractContextManager[Finish]:
        """A context to run the attempt in; it gives a function to call with the outcome."""

    async def shut_down(self) -> None:
        """Tell what is left to tell."""


class NoTelemetry:
    """Telemetry that is off."""

    def attempt(self, job: Job) -> AbstractContextManager[Finish]:  # noqa: ARG002
        """See the protocol."""
        return _NOTHING

    async def shut_down(self) -> None:
        """See the protocol."""


def _ignore(_: Outcome) -> None:
    """Take an outcome and do nothing with it."""


_NOTHING = nullcontext(_ignore)


class RunnerEvents(Protocol):
    """Whom the runner tells."""

    def claimed(self, job: Job) -> None:
        """A non-idempotent job has its turn: make that durable, then call `Runner.begin`."""

    def noted(self, job: Job, status: ResultStatus) -> None:
        """A running job has something to tell: `started` or `progress`."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job ended, for good."""


class Runner:
    """Runs at most `concurrency` jobs at a time; the others wait, see `Backlog`."""

    def __init__(
        self,
        events: RunnerEvents,
        concurrency: int,
        limits: Limits,
        telemetry: Telemetry,
        world: World,
    ) -> None:
        self._events = events
        self._now = world.now
        self._telemetry = telemetry
        self._concurrency = concurrency
        self._limits = limits
        self._queue: Backlog[Job] = Backlog()
        self._active: dict[Job, None] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._queue)

    @property
    def free(self) -> int:
        """How many more could start at once."""
        return self._concurrency - len(self._active) - len(self._queue)

    def submit(self, job: Job) -> None:
        """Queue a job whose command is in the journal."""
        self._queue.put(job)
        self._pump()

    def _pump(self) -> None:
        while self._queue and len(self._active) < self._concurrency and not self._closed:
            job = self._queue.take()
            self._active[job] = None
            self._idle.clear()
            if job.idempotent:
                self.begin(job)
            else:
                self._events.claimed(job)

    def begin(self, job: Job) -> None:
        """Start a job that has its turn (and, unless idempotent, its record)."""
        if job.cause is not None:  # stopped between its turn and its record: it never started
            self._end(job, _stopped(job, job.cause, None, self._now()))
            return
        failpoint("agent.before_start")
        job.started_at = self._now()
        loop = asyncio.get_running_loop()
        job.task = loop.create_task(self._run(job))
        # After its first step: what ends in that needs no timers.
        loop.call_soon(self._watch, job, loop.time())

    def _watch(self, job: Job, begun: float) -> None:
        """Keep the times of a job that takes some; `begun` is on the loop's clock."""
        if job.ended:
            return
        loop = asyncio.get_running_loop()
        job.timers["timeout"] = loop.call_at(begun + job.command.timeout, self.stop, job, Cause.TIMEOUT)
        job.timers["tell"] = loop.call_at(begun + self._limits.announce_after, self._announce, job)

    async def _run(self, job: Job) -> None:
        job.entered = True
        if job.cause is not None:  # stopped before its first step
            self._end(job, _stopped(job, job.cause, None, self._now()))
            return
        try:
            with self._telemetry.attempt(job) as finish:
                outcome = redacted(await _attempt(job, self._now), job.context.redactor)
                finish(outcome)
        except Exception as error:  # a fault of ours must end the job, not leave it hanging
            log.exception("an attempt could not be told")
            outcome = Outcome(ResultStatus.UNKNOWN, None, failure(error)[0], job.started_at)
        failpoint("agent.after_action")
        job.context.clean_up()
        self._end(job, outcome)

    def stop(self, job: Job, cause: Cause) -> bool:
        """Stop a job, queued or running; False if it ended before. `ended` tells when it really has."""
        if job.ended:
            return False
        if job.cause is not None:
            return True
        job.cause = cause
        if job.entered and job.task is not None:
            job.context.stop()
            job.task.cancel()
            loop = asyncio.get_running_loop()
            job.timers["abandon"] = loop.call_later(self._limits.kill_after, self._abandon, job)
        elif job not in self._active:
            self._queue.remove(job)
            self._end(job, _stopped(job, cause, None, self._now()))
        return True

    def _abandon(self, job: Job) -> None:
        """A job was told to stop and did not: nobody knows what it still does (rule 7)."""
        error = error_info(NOT_STOPPABLE, "it was told to stop but goes on; nobody knows its outcome")
        self._end(
            job, Outcome(ResultStatus.UNKNOWN, None, error, job.started_at, None, job.context.log_tail())
        )

    def _end(self, job: Job, outcome: Outcome) -> None:
        if job.ended:
            return
        job.ended = True
        for timer in job.timers.values():
            timer.cancel()
        self._active.pop(job, None)
        if not self._active:
            self._idle.set()
        self._events.ended(job, outcome)
        self._pump()

    # what a long job tells

    def _announce(self, job: Job) -> None:
        job.announced = True
        self._tell(job, ResultStatus.STARTED)

    def _heartbeat(self, job: Job) -> None:
        self._tell(job, ResultStatus.PROGRESS)

    def _tell(self, job: Job, status: ResultStatus) -> None:
        loop = asyncio.get_running_loop()
        job.told_at = loop.time()
        self._events.noted(job, status)
        job.timers["tell"] = loop.call_later(self._limits.heartbeat, self._heartbeat, job)

    def report(self, job: Job, data: Any) -> None:
        """Take what an action reports: told at once if it is a while since the last, else a little later."""
        job.progress = data
        if not job.announced or job.ended:
            return
        loop = asyncio.get_running_loop()
        soon = job.told_at + self._limits.progress_interval
        if job.timers["tell"].when() > soon:
            job.timers["tell"].cancel()
            job.timers["tell"] = loop.call_at(max(soon, loop.time()), self._heartbeat, job)

    # the end

    async def close(self, grace: float, *, begins: bool = True) -> None:
        """Start nothing more; give what runs `grace` seconds, then stop it. What waits stays journaled.

        `begins`: somebody will still call `begin` for the jobs that were claimed.
        """
        self._closed = True
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            for job in tuple(self._active):
                self.stop(job, Cause.SHUTDOWN)
                if job.task is None and not begins:
                    self._end(job, _stopped(job, Cause.SHUTDOWN, None, self._now()))
            await self._idle.wait()  # bounded: whatever does not stop is abandoned


async def _attempt(job: Job, now: Callable[[], datetime]) -> Outcome:
    """Call the action and say how it ended. One that was stopped and yet returned did its work."""
    context = job.context
    error: ErrorInfo | None = None
    output: Any = None
    status = ResultStatus.SUCCEEDED
    tail = ""
    try:
        output = output_of(await _call(job))
    except (asyncio.CancelledError, Stopped) as raised:
        if job.cause is None:
            error, tail = failure(RuntimeError(f"the action ended itself with {type(raised).__name__}"))
            status = ResultStatus.FAILED
    except TimedOut as raised:
        error, tail = failure(raised, context.redactor)
        status = ResultStatus.TIMED_OUT
    except (Exception, SystemExit) as raised:  # noqa: BLE001 - whatever it raises becomes its result
        error, tail = failure(raised, context.redactor)
        status = ResultStatus.FAILED
    else:
        return Outcome(status, output, None, job.started_at, now(), context.log_tail())
    if job.cause is not None:
        return _stopped(job, job.cause, job.started_at, now())
    return Outcome(status, None, error, job.started_at, now(), context.log_tail() + tail)


def _stopped(job: Job, cause: Cause, started_at: datetime | None, now: datetime) -> Outcome:
    """The outcome of a job that was stopped; `started_at` is None if it never started (rule 4 asks)."""
    if cause is Cause.TIMEOUT:
        error = error_info("timed_out", f"it ran longer than {job.command.timeout:g} s and was killed")
        status = ResultStatus.TIMED_OUT
    elif cause is Cause.CANCEL:
        error = error_info("cancelled", "it was cancelled")
        status = ResultStatus.CANCELLED
    else:
        error = error_info("agent_stopped", "the agent was stopped while it ran")
        status = ResultStatus.CANCELLED
    return Outcome(status, None, error, started_at, now, job.context.log_tail())


async def _call(job: Job) -> Any:
    function = job.body.function
    if job.body.is_async:
        return await function(job.context, **job.arguments)
    done = in_thread(lambda: function(job.context, **job.arguments))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        return await done  # no thread can be killed: it was told to stop, and this waits until it has
