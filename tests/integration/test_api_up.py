"""`baton up` as a user runs it."""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.topology import coordinator_declarations
from runtime.bus.port import Declarations, Queue
from schemas.names import Topology
from tests.support.bus import delete
from tests.support.processes import ROOT, free_port
from tests.support.waiting import until


def processes_in(directory: Path) -> list[int]:
    """Every process whose working directory is in `directory`, but zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
                zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if where.is_relative_to(directory) and not zombie:
                found.append(int(entry.name))
    return found


@pytest.fixture
async def space(amqp_url: str, namespace: str) -> AsyncIterator[dict[str, str]]:
    """The environment of a broker that is given; what was declared there is removed in the end."""
    yield {"BATON_AMQP_URL": amqp_url, "BATON_NAMESPACE": namespace}
    topology = Topology(namespace)
    agent = Declarations(queues=(Queue(topology.agent_queue("local"), {}),))
    await delete(amqp_url, [coordinator_declarations(topology, "0"), agent])


@pytest.fixture(autouse=True)
def _swept(tmp_path: Path) -> Iterator[None]:
    """A test that fails half-way leaves nothing running either."""
    yield
    for process in processes_in(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


async def up(directory: Path, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """Start `baton up` in a directory of its own."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "OTEL_"))
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator.cli", "up", *arguments),
        cwd=directory,
        env=inherited | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def read_until(process: asyncio.subprocess.Process, words: str) -> str:
    """What it says up to a line with these words."""
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(90):
        while words not in said:
            line = (await process.stdout.readline()).decode()
            assert line, said
            said += line
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_everything_runs_and_nothing_is_left(
    space: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    """On a broker that is given: the printed example works; whatever ends it, no process is left."""
    listen = f"127.0.0.1:{free_port()}"
    process = await up(tmp_path, "--listen", listen, **space)
    said = await read_until(process, "Ctrl-C stops everything")
    assert space["BATON_AMQP_URL"].rpartition("@")[2].rstrip("/") in said
    assert ":baton@" not in said
    for line in said.splitlines():
        if line.startswith("  baton "):
            command = await asyncio.create_subprocess_shell(
                line.replace("baton", f"{shlex.quote(sys.executable)} -m orchestrator.cli", 1),
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await command.communicate()
            assert command.returncode == 0, out
    os.kill(process.pid, number)
    await process.wait()
    if number is not signal.SIGKILL:
        assert process.returncode == 0
    await until(lambda: not processes_in(tmp_path), 30, what="the end of every process")


async def test_a_closed_terminal_ends_all(space: dict[str, str], tmp_path: Path) -> None:
    """SIGHUP with nobody left to read what it says stops everything all the same."""
    process = await up(tmp_path, "--listen", f"127.0.0.1:{free_port()}", **space)
    await read_until(process, "Ctrl-C stops everything")
    terminal: Any = process.stdout
    terminal._transport.close()
    os.kill(process.pid, signal.SIGHUP)
    async with asyncio.timeout(60):
        await process.wait()
    await until(lambda: not processes_in(tmp_path), 30, what="the end of every process")


async def test_a_private_broker(tmp_path: Path) -> None:
    """Without a broker it starts one of its own, which ends with it and leaves its data."""
    process = await up(tmp_path, "--listen", f"127.0.0.1:{free_port()}")
    said = await read_until(process, "Ctrl-C stops everything")
    assert "private" in said
    os.kill(process.pid, signal.SIGTERM)
    assert await process.wait() == 0
    await until(lambda: not processes_in(tmp_path), 30, what="the end of every process")
    assert (tmp_path / ".baton" / "broker" / "data").is_dir()


async def test_a_part_that_ends_ends_all(space: dict[str, str], tmp_path: Path) -> None:
    """When a coordinator is killed or cannot start, the rest ends, and the error has its last words."""
    listen = f"127.0.0.1:{free_port()}"
    process = await up(tmp_path, "--listen", listen, **space)
    await read_until(process, "Ctrl-C stops everything")
    second = await up(tmp_path, "--listen", f"127.0.0.1:{free_port()}", **space)
    said = await read_until(second, "is in use by process")
    assert await second.wait() == 1
    assert "the coordinator has ended" in said
    os.kill(int((tmp_path / ".baton" / "baton.db.lock").read_text()), signal.SIGKILL)
    await read_until(process, "the coordinator has ended")
    assert await process.wait() == 1
    await until(lambda: not processes_in(tmp_path), 30, what="the end of every process")
