"""Rounds: in each, every system gets the broker to itself once, is warmed up, measured and checked."""

import asyncio
import importlib
import os
import secrets
import shutil
import socket
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika

from bench.driver import STEPS
from bench.place import Place
from bench.processes import BenchError, DriverProcess, Process, busy_seconds, cpu_seconds, family, rss_bytes

__all__ = ["SYSTEMS", "Plan", "Tally", "measure"]

SYSTEMS = ("floor", "baton", "celery", "dbos")
DRIVER_IS_SYSTEM = ("floor", "dbos")
"""Where the driver does the system's own work; elsewhere it is the world outside, and not counted."""

FIRST_LOAD = 50  # sagas
MEBI = 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """How much is measured. `seconds` is how long one load should take, `limit` how long all may."""

    systems: Sequence[str]
    seconds: float = 10.0
    rounds: int = 3
    lone: int = 100
    limit: float = 360.0


@dataclass
class Tally:
    """What was measured of one system, a value for each round; `lone_ms` has all lone sagas of all rounds.

    `others_percent` is the share of this machine's cores that went to what is no part of the benchmark.
    """

    system: str
    settings: str
    sagas: list[int] = field(default_factory=list)
    sagas_per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    client_cpu_us: list[float] = field(default_factory=list)
    broker_cpu_us: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    others_percent: list[float] = field(default_factory=list)
    lone_ms: list[float] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """The JSON line: medians over the rounds."""
        rate = statistics.median(self.sagas_per_s)
        return {
            "system": self.system,
            "sagas_per_s": round(rate, 1),
            "steps_per_s": round(rate * len(STEPS), 1),
            "p50_ms": round(_quantile(self.lone_ms, 0.50), 2),
            "p99_ms": round(_quantile(self.lone_ms, 0.99), 2),
            "cpu_us_per_step": round(statistics.median(self.cpu_us)),
            "broker_cpu_us_per_step": round(statistics.median(self.broker_cpu_us)),
            "client_cpu_us_per_step": round(statistics.median(self.client_cpu_us)),
            "others_cpu_percent": round(statistics.median(self.others_percent)),
            "rss_mb": round(statistics.median(self.rss_mb), 1),
            "sagas": sum(self.sagas),
            "sagas_per_s_by_round": [round(one, 1) for one in self.sagas_per_s],
            "settings": self.settings,
        }


async def measure(plan: Plan, amqp_url: str, base: Path, broker: Sequence[int]) -> list[Tally]:
    """Measure all systems; `BenchError` if one fails or did not do all of its work."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    tallies = [
        Tally(system, importlib.import_module(f"bench.systems.{system}").SETTINGS) for system in plan.systems
    ]
    for number in range(1, plan.rounds + 1):
        round_begun = loop.time()
        for tally in tallies:
            await _round(plan, tally, amqp_url, base, broker)
            _tell(f"round {number} of {plan.rounds}: {tally.system} {tally.sagas_per_s[-1]:,.0f} sagas/s")
        now = loop.time()
        if number < plan.rounds and now - begun + (now - round_begun) > plan.limit:
            _tell(f"stopping after round {number}: another would take longer than {plan.limit:.0f} s in all")
            break
    return tallies


async def _round(plan: Plan, tally: Tally, amqp_url: str, base: Path, broker: Sequence[int]) -> None:
    """One system, from its start to its end."""
    namespace = f"bench-{tally.system}-{secrets.token_hex(3)}"
    place = Place(amqp_url, base / namespace, namespace, _free_port())
    place.directory.mkdir(parents=True)
    async with AsyncExitStack() as ending:
        ending.callback(shutil.rmtree, place.directory)
        ending.push_async_callback(_delete_queues, place)
        servers: list[Process] = []
        for server in importlib.import_module(f"bench.systems.{tally.system}").servers(place):
            process = Process(server, place)
            ending.push_async_callback(process.stop)
            servers.append(process)
        driver = await DriverProcess.start(tally.system, place, servers)
        ending.push_async_callback(driver.stop)
        system, client = [server.pid for server in servers], [driver.pid]
        if tally.system in DRIVER_IS_SYSTEM:
            system, client = system + client, []
        await _measure(plan, tally, driver, (family(system), client, broker))


async def _measure(
    plan: Plan,
    tally: Tally,
    driver: DriverProcess,
    groups: tuple[Sequence[int], Sequence[int], Sequence[int]],
) -> None:
    """Warm up, lone sagas, load, check. `groups`: the system's processes, the client's, the broker's."""
    patience = 60 + 10 * plan.seconds
    before = await driver.ask("count", within=patience)
    tally.lone_ms += (await driver.ask(f"lone {plan.lone}", within=patience))["ms"]
    given, sagas, seconds = plan.lone, FIRST_LOAD, 0.0
    while True:
        begun, busy = [cpu_seconds(group) for group in groups], busy_seconds()
        seconds = (await driver.ask(f"load {sagas}", within=patience))["seconds"]
        cpu = [cpu_seconds(group) - then for group, then in zip(groups, begun, strict=True)]
        busy = busy_seconds() - busy
        given += sagas
        if seconds > plan.seconds / 2:
            break  # long enough; those before were the warm-up
        sagas = round(sagas * min(8.0, plan.seconds / seconds))
    rss = rss_bytes(groups[0])
    after = await driver.ask("count", within=patience)
    done = {name: after[name] - before[name] for name in after}
    if done != {"sagas": given, "steps": given * len(STEPS)}:
        raise BenchError(f"{tally.system} was given {given} sagas of {len(STEPS)} steps and did {done}")
    steps = sagas * len(STEPS)
    tally.sagas.append(given)
    tally.sagas_per_s.append(sagas / seconds)
    for values, used in zip((tally.cpu_us, tally.client_cpu_us, tally.broker_cpu_us), cpu, strict=True):
        values.append(1e6 * used / steps)
    tally.others_percent.append(100 * max(0.0, busy - sum(cpu)) / seconds / (os.cpu_count() or 1))
    tally.rss_mb.append(rss / MEBI)


async def _delete_queues(place: Place) -> None:
    """Remove what this round left on the broker, so that the next has it as new."""
    connection = await aio_pika.connect(place.amqp_url)
    async with connection:
        for name in importlib.import_module(f"bench.systems.{place.namespace.split('-')[1]}").queues(place):
            channel = await connection.channel()
            await channel.queue_delete(name)


def _quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tell(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
