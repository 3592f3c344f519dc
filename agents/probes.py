"""Asking probes what became of attempts that were lost: a few at once, each for a bounded time.

Apart from the jobs, so that an agent whose hands are full still clears up its doubts. A probe that is itself
lost, with the agent, is asked again at the next start: the journal says `started` until there is an answer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from agents.answers import Outcome, error_info, failure, output_of, redacted
from agents.context import Context
from agents.limits import Limits
from agents.sdk import Body, Probed
from agents.threads import in_thread
from agents.world import World
from schemas.messages import Command, ResultStatus

__all__ = ["Lost", "Prober", "lost_outcome"]


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """A command that was started and then lost, and whom to ask about it."""

    command: Command
    started_at: datetime
    probe: Body
    arguments: dict[str, Any] = field(repr=False)
    """With the values of secrets: not for a log."""
    context: Context


def lost_outcome(started_at: datetime | None, why: str = "") -> Outcome:
    """Nobody knows whether it took effect."""
    text = "the agent was stopped while it ran; whether it took effect is not known"
    error = error_info("lost", f"{text}: {why}" if why else text)
    return Outcome(ResultStatus.UNKNOWN, None, error, started_at)


_NO_EFFECT: Final = error_info(
    "no_effect", "the agent was stopped while it ran; its probe says that it had no effect and will have none"
)


class Prober:
    """Asks. `answered` gets each command with what came of it: `succeeded`, `never_seen` or `unknown`."""

    def __init__(self, answered: Callable[[Lost, Outcome], None], limits: Limits, world: World) -> None:
        self._answered = answered
        self._limits = limits
        self._now = world.now
        self._slots = asyncio.Semaphore(limits.probes)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, Lost] = {}
        self._calls: set[asyncio.Task[Probed]] = set()

    def asked(self, command_id: str) -> Lost | None:
        """The command, if its probe was asked and the answer is not settled yet."""
        return self._asked.get(command_id)

    def settled(self, command_id: str) -> None:
        """The answer, if there was one, is in the journal."""
        self._asked.pop(command_id, None)

    def ask(self, lost: Lost) -> None:
        """Ask the probe of a command, unless that is being done."""
        name = lost.command.id
        if name not in self._asked:
            self._asked[name] = lost
            self._tasks[name] = asyncio.create_task(self._find_out(lost))

    async def close(self) -> None:
        """Stop asking; what has not been answered stays lost."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._limits.kill_after)

    async def _find_out(self, lost: Lost) -> None:
        name = lost.command.id
        try:
            async with self._slots:
                said = await self._said(lost)
        finally:
            del self._tasks[name]
            lost.context.clean_up()
        self._answered(lost, redacted(self._outcome(lost, said), lost.context.redactor))

    async def _said(self, lost: Lost) -> Probed:
        """What the probe says. One that is slow and does not stop is left alone: a probe changes nothing."""
        call = asyncio.create_task(_ask(lost))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            done, _ = await asyncio.wait({call}, timeout=self._limits.probe_timeout)
        finally:
            lost.context.stop()
            call.cancel()
        if not done:
            return Probed.unknown(f"its probe took longer than {self._limits.probe_timeout:g} s")
        return Probed.unknown("its probe ended itself") if call.cancelled() else call.result()

    def _outcome(self, lost: Lost, said: Probed) -> Outcome:
        now, tail = self._now(), lost.context.log_tail()
        if said.said == "done":
            return Outcome(ResultStatus.SUCCEEDED, said.output, None, lost.started_at, now, tail)
        if said.said == "never":
            return Outcome(ResultStatus.NEVER_SEEN, None, _NO_EFFECT, None, now, tail)
        outcome = lost_outcome(lost.started_at, said.why or "its probe cannot tell")
        return outcome._replace(finished_at=now, log=tail)


async def _ask(lost: Lost) -> Probed:
    """Call the probe. Whatever goes wrong in it, nobody knows more than before."""
    context, function = lost.context, lost.probe.function
    try:
        if lost.probe.is_async:
            said = await function(context, **lost.arguments)
        else:
            said = await in_thread(lambda: function(context, **lost.arguments))
        if not isinstance(said, Probed):
            return Probed.unknown(f"its probe gave {type(said).__name__}, not a Probed")
        return Probed(said.said, output_of(said.output), said.why)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever its author's code may raise
        why, tail = failure(error, context.redactor)
        if tail:
            context.log(tail)
        return Probed.unknown(f"its probe failed: {why.message}")
