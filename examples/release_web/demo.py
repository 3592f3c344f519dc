"""The main job, shown on real parts: `./run demo`.

A broker, a coordinator and three agents run as processes of their own; three small web applications are
released to. Version 1 goes out; version 2 goes out while the coordinator is killed half-way; version 3 is bad
on the last host, and every host goes back to version 2. Ends with 0 only if all of that came true.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from examples.release_web.stage import HERE, DemoFailed, Stage, until
from orchestrator.cli.timeline import FINAL, entries, timeline
from orchestrator.local.broker import PrivateBroker
from schemas.errors import BatonError

EVENT = "com.example.release.published"
BEGAN = time.monotonic()


def say(text: str = "") -> None:
    """A line with the time since the demo began."""
    for line in text.splitlines() or [""]:
        sys.stdout.write(f"{time.monotonic() - BEGAN:6.1f}s  {line}\n" if line else "\n")
    sys.stdout.flush()


async def main() -> None:
    """Set the stage, play the three acts, and clear it again."""
    directory = _own_directory()
    say(f"everything happens below {directory}")
    try:
        async with _broker() as amqp_url:
            stage = Stage(directory, amqp_url)
            try:
                await play(stage)
            finally:
                say("stopping every process")
                await stage.close()
    except BaseException:
        say(f"logs are kept in {directory}")
        raise
    shutil.rmtree(directory)


def _own_directory() -> Path:
    """A new directory, so that two demos do not meet."""
    base = Path(".baton")
    base.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="demo-", dir=base)).resolve()


@contextlib.asynccontextmanager
async def _broker() -> AsyncIterator[str]:
    """The broker that was given, or a private one for the time of the demo."""
    if given := os.environ.get("BATON_AMQP_URL"):
        say("broker: the one that BATON_AMQP_URL names")
        yield given
        return
    say("starting a private RabbitMQ node (on loopback only)")
    async with PrivateBroker() as node:
        yield node.url


async def play(stage: Stage) -> None:
    """The three acts."""
    say("starting the coordinator, and agents web-1, web-2, web-3, each with the label role=web")
    await stage.start_coordinator()
    await stage.start_agents()
    await stage.apply((HERE / "release.yaml").read_text())

    say()
    say("(1) v1 is published: every host fetches and unpacks it; then one after the other restarts with it")
    run = await release(stage, "v1")
    await verify(stage, run, status="succeeded", version="v1")

    say()
    say("(2) v2 is published, and the coordinator is killed once the first host has switched")
    run = await release(stage, "v2", kill_halfway=True)
    await verify(stage, run, status="succeeded", version="v2")

    say()
    say("(3) v3 is published; it is not healthy on web-3, the last host")
    run = await release(stage, "v3", broken_on="web-3")
    await verify(stage, run, status="compensated", version="v2")

    say()
    say("All as promised: v1 went out, v2 went out across a killed coordinator, v3 was undone on every host.")


async def release(
    stage: Stage, version: str, *, broken_on: str = "", kill_halfway: bool = False
) -> dict[str, Any]:
    """Publish a release and follow its run to the end; returns the run as the API shows it."""
    data = stage.downloads.add(version, broken_on=broken_on)
    await stage.publish(EVENT, {**data, "root": str(stage.directory)})

    async def started() -> str | None:
        items = (await stage.get(f"/api/runs?key={version}"))["items"]
        return items[0]["id"] if items else None

    run_id = await until("starting the run", started)
    shown: set[tuple[str, str, str]] = set()

    async def ended() -> dict[str, Any] | None:
        run: dict[str, Any] = await stage.get(f"/api/runs/{run_id}")
        progress(run, shown)
        if kill_halfway and any(host["status"] == "succeeded" for host in run["steps"]["switch"]["hosts"]):
            return run
        if run["status"] == "attention":
            raise DemoFailed(f"the run needs a person, which nothing here should:\n{timeline(run)}")
        return run if run["status"] in FINAL else None

    if kill_halfway:
        await until("the first half", ended)
        kill_halfway = False
        say(f"kill -9 {stage.kill('coordinator')}: the coordinator is gone; starting it again")
        await stage.start_coordinator()
    return await until("the run", ended)


def progress(run: dict[str, Any], shown: set[tuple[str, str, str]]) -> None:
    """Say what has changed since the last look: hosts that became the same share a line."""
    news: dict[tuple[str, str], list[str]] = {}
    for entry in entries(run):
        place = f"{'undo ' if entry.undo else ''}{entry.step.partition('[')[0]}"
        if entry.status in ("pending", "cancelled") or (place, entry.host, entry.status) in shown:
            continue
        shown.add((place, entry.host, entry.status))
        news.setdefault((place, entry.status), []).append(entry.host)
    for (place, status), hosts in news.items():
        say(f"    {place:<11}  {status:<12}  {' '.join(hosts)}".rstrip())


async def verify(stage: Stage, run: dict[str, Any], *, status: str, version: str) -> None:
    """Show the timeline, ask the applications what they serve, and hold both against what was promised."""
    say()
    say(timeline(run))
    say()
    serving = await stage.serving()
    say("asked over HTTP: " + ", ".join(f"{host} serves {found}" for host, found in serving.items()))
    if run["status"] != status:
        raise DemoFailed(f"the run should have ended {status}, but is {run['status']}")
    if set(serving.values()) != {version}:
        raise DemoFailed(f"every host should serve {version}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (DemoFailed, BatonError) as error:
        say(f"The demo failed: {error}")
        sys.exit(1)
