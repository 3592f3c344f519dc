"""What is special to these hosts: `app.switch`, `app.switch_back`. Loaded with `baton-agent --module`.

`APP_ROOT` is the host's directory, `APP_PORT` where its application listens. `current` there is a link to the
release that serves.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from msgspec import Struct

from agents import ActionError, Agent, Context

agent = Agent()

ROOT = Path(os.environ["APP_ROOT"])
URL = f"http://127.0.0.1:{os.environ['APP_PORT']}"
CURRENT = ROOT / "current"
START_SECONDS = 20.0
HEALTH_CHECKS = 10


class Switched(Struct):
    """What served before; empty is nothing."""

    previous: str


@agent.action("app.switch", idempotent=True)
async def switch(ctx: Context, version: str) -> Switched:
    """Let a release that is unpacked serve; fails with `unhealthy` if it comes up, but does not get well.

    What served before is noted before anything is changed: so doing it again gives the same answer, and
    `app.switch_back` can undo it however far it came.
    """
    if not (ROOT / "releases" / version / "web_app.py").exists():
        raise ActionError("not_unpacked", f"release {version} is not on this host", retryable=False)
    serving = _serving()
    note = _note(version)
    if serving != version or not note.exists():
        note.write_text(serving)
    await _serve(ctx, version)
    await _get_well()
    return Switched(previous=note.read_text())


@agent.action("app.switch_back", idempotent=True)
async def switch_back(ctx: Context, version: str) -> None:
    """Undo `app.switch` to a release: what served before it serves again."""
    note = _note(version)
    if note.exists():  # else the switch changed nothing, or this has been done
        await _serve(ctx, note.read_text())
        note.unlink()


def _note(version: str) -> Path:
    """The file that says what served before a release."""
    return ROOT / f"before-{version}"


def _serving() -> str:
    """The release that `current` points to; empty is none."""
    return CURRENT.readlink().name if CURRENT.is_symlink() else ""


async def _serve(ctx: Context, version: str) -> None:
    """Point `current` at a release and restart the application from there; without a release only stop it."""
    ctx.log(f"{_serving() or 'nothing'} -> {version or 'nothing'}")
    await _stop()
    if not version:
        CURRENT.unlink(missing_ok=True)
        return
    fresh = ROOT / "current.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("releases") / version)
    fresh.replace(CURRENT)
    await _start(ctx, version)


async def _stop() -> None:
    """End the application that runs, if one does."""
    pid_file = ROOT / "app.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    with contextlib.suppress(ProcessLookupError):  # it had ended already
        os.killpg(pid, signal.SIGKILL)
    pid_file.unlink()
    while await _version() is not None:  # noqa: ASYNC110 - another process, which tells by HTTP only
        await asyncio.sleep(0.02)


async def _start(ctx: Context, version: str) -> None:
    """Start the application in a session of its own, so that it outlives the agent; wait until it answers."""
    app = subprocess.Popen(  # noqa: ASYNC220 - it only starts it; waiting for it is for the next switch
        [sys.executable, str(CURRENT / "web_app.py")],
        env={**os.environ, "APP_HOST": ctx.agent, "APP_PORT": URL.rpartition(":")[2]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (ROOT / "app.pid").write_text(str(app.pid))
    async with asyncio.timeout(START_SECONDS):
        while await _version() != version:
            if app.poll() is not None:
                raise ActionError("app_died", f"release {version} ended with {app.returncode}")
            await asyncio.sleep(0.02)


async def _get_well() -> None:
    """Ask the application for its health until it is well."""
    async with httpx.AsyncClient(timeout=2.0) as client:
        for _ in range(HEALTH_CHECKS):
            answer = await client.get(f"{URL}/health")
            if answer.is_success:
                return
            await asyncio.sleep(0.2)
    raise ActionError("unhealthy", f"GET {URL}/health answered {answer.status_code}", retryable=False)


async def _version() -> str | None:
    """What the application says it is; None if nothing answers."""
    try:
        async with httpx.AsyncClient(timeout=2.0) as client:
            version: str = (await client.get(URL)).json()["version"]
            return version
    except httpx.TransportError:
        return None
