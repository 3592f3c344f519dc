"""Actions that count themselves in a file, for tests that kill processes. Loaded by `baton-agent --module`.

Each line of `COUNT_FILE` is `<step> <kind> <attempt> <what>`, written and synced as one append.
"""

import asyncio
import os
from pathlib import Path

from agents import ActionError, Agent, Context

agent = Agent()
FILE = Path(os.environ["COUNT_FILE"])


def _note(ctx: Context, what: str) -> None:
    with FILE.open("ab", buffering=0) as log:
        log.write(f"{ctx.step} {ctx.kind} {ctx.attempt} {what}\n".encode())
        os.fsync(log.fileno())


@agent.action("count.once")
async def once(ctx: Context, *, fail: bool = False, gate: str = "") -> dict[str, int]:
    """Have an effect that must not be had twice. With `gate`, wait in the middle until that file exists."""
    return await _count(ctx, fail=fail, gate=gate)


@agent.action("count.repeatable", idempotent=True)
async def repeatable(ctx: Context, *, fail: bool = False, gate: str = "") -> dict[str, int]:
    """Have an effect that may be had again."""
    return await _count(ctx, fail=fail, gate=gate)


async def _count(ctx: Context, *, fail: bool, gate: str) -> dict[str, int]:
    _note(ctx, "start")
    while gate and not Path(gate).exists():  # noqa: ASYNC110 - another process opens the gate
        await asyncio.sleep(0.01)
    if fail:
        raise ActionError("told_to", "it was told to fail")
    _note(ctx, "effect")
    return {"attempt": ctx.attempt}
