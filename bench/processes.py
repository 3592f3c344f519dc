"""Processes of the systems measured: started, asked, weighed, and ended by their ids. Reads Linux's /proc."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.place import Place

__all__ = [
    "BenchError",
    "DriverProcess",
    "Process",
    "Server",
    "busy_seconds",
    "cpu_seconds",
    "family",
    "rss_bytes",
]

ROOT = Path(__file__).parents[1]
TICK = os.sysconf("SC_CLK_TCK")  # clock ticks of /proc in a second
PAGE = os.sysconf("SC_PAGE_SIZE")
STOP_TIMEOUT = 10.0  # seconds between asking a process to end and ending it
LOG_TAIL = 2_000  # characters


class BenchError(Exception):
    """The benchmark cannot go on, or what a system did is not what it was given."""


@dataclass(frozen=True)
class Server:
    """A process of a system: its name, command line, and what it needs in its environment."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]


class Process:
    """One child and all of its own children, in a session of its own. Its output is a file."""

    def __init__(self, server: Server, place: Place) -> None:
        self.name = server.name
        self._log = place.directory / f"{server.name}.log"
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                server.argv,
                cwd=ROOT,
                env=place.environment() | dict(server.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if isinstance(self, DriverProcess) else log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def failed(self, what: str) -> BenchError:
        """An error about this process, with the end of its log."""
        return BenchError(f"{self.name}: {what}\n{self._log.read_text(errors='replace')[-LOG_TAIL:]}")

    async def stop(self) -> None:
        """Ask it to end; end it and all of its children when it does not."""
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self.popen.wait, STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"bench: {self.name} does not stop and is killed\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # its session: what it left behind, or it itself
            self.popen.wait()


class DriverProcess(Process):
    """A system's driver; see `bench.driver`."""

    servers: Sequence[Process] = ()
    """What it drives: when there is no answer, one of these may be why."""

    @classmethod
    async def start(cls, system: str, place: Place, servers: Sequence[Process]) -> Self:
        """Start it and wait until its system takes work."""
        self = cls(Server("driver", [sys.executable, "-m", f"bench.systems.{system}"], {}), place)
        self.servers = servers
        try:
            await self._answer(90)
        except BaseException:
            await self.stop()
            raise
        return self

    async def ask(self, order: str, *, within: float) -> Any:
        """Give an order and return its answer; `BenchError` without one within so many seconds."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(order.encode() + b"\n")
        self.popen.stdin.flush()
        return await self._answer(within)

    async def _answer(self, within: float) -> Any:
        assert self.popen.stdout is not None
        reading = asyncio.ensure_future(asyncio.to_thread(self.popen.stdout.readline))
        done, _ = await asyncio.wait((reading,), timeout=within)
        if done and (line := reading.result()):
            return json.loads(line)
        for server in self.servers:
            if server.popen.poll() is not None:
                raise server.failed(f"ended with {server.popen.returncode}")
        raise self.failed("ended early" if done else f"no answer within {within:.0f} s")


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all their descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(pids)
    for pid in found:  # grows while it is walked
        found += children.get(pid, ())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, all threads, and of their children that have ended."""
    return sum(sum(map(int, fields[11:15])) for pid in pids if (fields := _stat(pid))) / TICK


def busy_seconds() -> float:
    """Time that all cores of this machine have spent working, for whomever, since it was started."""
    user, nice, system, _idle, _wait, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(interrupts)) / TICK


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes; pages that two share are counted twice."""
    return sum(int(fields[21]) for pid in pids if (fields := _stat(pid))) * PAGE


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; none when the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []
