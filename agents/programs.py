"""Program actions: any executable that reads JSON on its input and writes JSON on its output; and probes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from agents.context import Context
from agents.limits import MAX_OUTPUT_BYTES
from agents.sdk import Action, ActionError, Body, Probed
from schemas.codec import Malformed, decode, encode

__all__ = ["program_action", "program_probe"]

T = TypeVar("T")


def program_action(name: str, path: Path) -> Action:
    """An action that runs `path` with `{"args": …, "context": …}` on its input.

    What it prints must be JSON (nothing at all is null) and becomes the output; what it writes to standard
    error becomes the log. An exit code other than 0 fails the attempt with `exit_code`. Whether it is
    idempotent is for the step to say.
    """

    async def run(ctx: Context, **args: Any) -> Any:
        return await _run(ctx, path, args, object)

    return Action(name, Body(run), description=f"The program {path.name}.")


def program_probe(path: Path) -> Callable[..., Any]:
    """A probe that is a program: it gets what the action's got, and prints a `Probed`.

    That is `{"said": "done", "output": …}`, `{"said": "never"}` or `{"said": "unknown", "why": "…"}`.
    """

    async def probe(ctx: Context, **args: Any) -> Probed:
        return await _run(ctx, path, args, Probed)

    return probe


async def _run(ctx: Context, path: Path, args: dict[str, Any], kind: type[T]) -> T:
    """Run a program to its end and give what it printed."""
    sent = encode({"args": args, "context": _told(ctx)})
    done = await ctx.run([str(path)], stdin=sent, keep=MAX_OUTPUT_BYTES, fail_beyond=True)
    ctx.printed(done.stderr.raw())
    if done.exit_code != 0:
        last = ctx.redactor.text(done.stderr.text()).strip()[-1000:]
        raise ActionError(
            "exit_code",
            f"{path.name} ended with {done.exit_code}: {last}",
            details={"exit_code": done.exit_code},
        )
    printed = done.stdout.raw().strip()
    try:
        return decode(printed or b"null", kind)
    except Malformed as error:
        raise ActionError(
            "bad_output",
            f"{path.name} printed what cannot be read: {error.message}",
            retryable=False,
        ) from None


def _told(ctx: Context) -> dict[str, Any]:
    """The context as a program sees it; `timeout` in seconds."""
    return {
        "command_id": ctx.command_id,
        "run_id": ctx.run_id,
        "workflow": ctx.workflow,
        "step": ctx.step,
        "host_index": ctx.host_index,
        "attempt": ctx.attempt,
        "kind": ctx.kind,
        "agent": ctx.agent,
        "timeout": ctx.timeout,
        "traceparent": ctx.traceparent,
        "workdir": str(ctx.workdir),
    }
