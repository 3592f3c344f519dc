"""`exec.run`: run a program."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from agents.arguments import seconds
from agents.context import Context
from agents.limits import MAX_STREAM_BYTES
from agents.sdk import ActionError, Agent, TimedOut

__all__ = ["Ran", "agent"]

agent = Agent()


class Ran(Struct, frozen=True):
    """How it ended. Of each stream the last 32 KiB; `truncated` says that there was more."""

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool


@agent.action("exec.run")
async def run(
    ctx: Context,
    argv: Annotated[list[str], Meta(min_length=1)],
    cwd: str | None = None,
    env: dict[str, str] = {},  # noqa: B006 - a default for the arguments' schema, never changed
    stdin: str = "",
    timeout: str | float | None = None,  # noqa: ASYNC109 - a workflow's own limit on the program
    ok_codes: Sequence[int] = (0,),
) -> Ran:
    """Run a program, given as a list; no shell takes it apart.

    `env` adds to the agent's environment, `cwd` defaults to the agent's directory. An exit code outside
    `ok_codes` fails the step with `exit_code`. Past `timeout` (seconds, or text such as `30s`) its whole tree
    is killed and the step has timed out.

    Idempotent: no, as nobody can know what a program does; a step says `idempotent: true` where it is so.
    Undo: whatever undoes that program, usually another `exec.run`.
    """
    try:
        async with asyncio.timeout(seconds(timeout)):
            done = await ctx.run(argv, cwd=cwd, env=env, stdin=stdin.encode(), keep=MAX_STREAM_BYTES)
    except TimeoutError:
        raise TimedOut("timed_out", f"{argv[0]} ran longer than {timeout}") from None
    ctx.printed(done.stdout.raw())
    ctx.printed(done.stderr.raw())
    ran = Ran(
        done.exit_code, done.stdout.text(), done.stderr.text(), done.stdout.truncated or done.stderr.truncated
    )
    if ran.exit_code not in ok_codes:
        last = ctx.redactor.text(ran.stderr or ran.stdout).strip().rpartition("\n")[2]
        ended = f"{argv[0]} ended with {ran.exit_code}"
        raise ActionError(
            "exit_code",
            (f"{ended}: {last}" if last else ended)[:1000],
            details={"exit_code": ran.exit_code, "stdout": ran.stdout[-2000:], "stderr": ran.stderr[-2000:]},
        )
    return ran
