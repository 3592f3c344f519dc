"""Actions that count what they do, in this process, for tests of the agent's loop."""

import asyncio
import threading
from typing import Any

from agents import ActionError, Agent, Context
from agents.limits import Limits

__all__ = ["QUICK", "Bench"]

QUICK = Limits(announce_after=0.05, heartbeat=0.05, kill_after=0.3, stop_grace=0.1, retry_returned=0.05)


class Bench:
    """Actions that count their starts and effects and end when told to."""

    def __init__(self) -> None:
        self.agent = Agent()
        self.starts: list[str] = []
        self.effects: list[str] = []
        self.go = asyncio.Event()
        self.thread_go = threading.Event()
        self.agent.action("once")(self.work)
        self.agent.action("again", idempotent=True)(self.work)
        self.agent.action("hold")(self.hold)
        self.agent.action("thread")(self.thread)
        self.agent.action("stubborn")(self.stubborn)
        self.agent.action("fail")(self.fail)
        self.agent.action("give", idempotent=True)(self.give)

    async def work(self, ctx: Context) -> dict[str, int]:
        """Take effect at once."""
        self.starts.append(ctx.command_id)
        self.effects.append(ctx.command_id)
        return {"n": len(self.effects)}

    async def hold(self, ctx: Context) -> str:
        """Take effect when told to."""
        self.starts.append(ctx.command_id)
        await self.go.wait()
        self.effects.append(ctx.command_id)
        return "held"

    def thread(self, ctx: Context, *, polite: bool = True) -> str:
        """The same, in a thread; a polite one looks whether it was told to stop."""
        self.starts.append(ctx.command_id)
        while not self.thread_go.wait(0.01):
            if polite:
                ctx.check()
        return "held"

    async def stubborn(self, ctx: Context) -> None:
        """Never stop."""
        self.starts.append(ctx.command_id)
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                continue

    async def fail(self, ctx: Context, *, how: str) -> None:
        """Fail in a way."""
        ctx.log("about to fail")
        if how == "error":
            raise ActionError("no_space", "full", retryable=False, details={"free": 0})
        if how == "exception":
            raise ValueError("surprise")
        if how == "exit":
            raise SystemExit("good bye")
        if how == "odd":
            raise ActionError(5, object(), details=object())  # type: ignore[arg-type]
        if how == "surrogate":
            raise ValueError("\ud800")
        raise asyncio.CancelledError

    async def give(self, ctx: Context, *, what: Any) -> Any:
        """Return something."""
        return {"too long": "x" * 300_000, "not json": object(), "deep": _deep(70)}.get(what, what)


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value
