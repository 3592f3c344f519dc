"""The one action that is special to these hosts: `app.switch`. Loaded with `baton-agent --module`.

`APP_ROOT` is the host's directory, `APP_PORT` where its application listens.
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
PORT = int(os.environ["APP_PORT"])
URL = f"http://127.0.0.1:{PORT}"
START_SECONDS = 20.0


class Switched(Struct):
    """What serves now and what served before; empty is nothing."""

    version: str
    previous: str
    url: str


@agent.action("app.switch", idempotent=True)
async def switch(ctx: Context, version: str) -> Switched:
    """Point `current` at a release that is unpacked, and restart the application from there.

    Idempotent: what served before is noted before the link is changed, so that doing it again gives the same
    answer. Undo: `app.switch` to `previous`; the empty version stops the application.
    """
    current = ROOT / "current"
    serving = current.readlink().name if current.is_symlink() else ""
    note = ROOT / f"before-{version or 'nothing'}"
    if serving != version or not note.exists():
        note.write_text(serving)
    ctx.log(f"{serving or 'nothing'} -> {version or 'nothing'}")
    if version and not (ROOT / "releases" / version / "web_app.py").exists():
        raise ActionError("not_unpacked", f"release {version} is not on this host", retryable=False)
    await _stop()
    if version:
        fresh = ROOT / "current.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("releases") / version)
        fresh.replace(current)
        await _start(ctx, version)
    else:
        current.unlink(missing_ok=True)
    return Switched(version=version, previous=note.read_text(), url=URL)


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
        [sys.executable, str(ROOT / "current" / "web_app.py")],
        env={**os.environ, "APP_HOST": ctx.agent, "APP_PORT": str(PORT)},
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


async def _version() -> str | None:
    """What the application says it is; None if nothing answers."""
    try:
        async with httpx.AsyncClient(timeout=2.0) as client:
            version: str = (await client.get(URL)).json()["version"]
            return version
    except httpx.TransportError:
        return None
