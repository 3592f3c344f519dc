"""Baton: one coordinator process and one agent process, as a user starts them.

Work is given as the outside world gives it: an event published over AMQP for each saga. A lone saga is over
when its `baton.run.succeeded` event arrives; under load the end is read from the database, which disturbs
least.
"""

import asyncio
import itertools
import secrets
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import httpx

from bench.driver import STEPS, serve, until
from bench.place import Place
from bench.processes import Server
from runtime.bus.amqp import AmqpBus
from runtime.bus.port import Binding, Declarations, Delivery, Message, PublishOutcome, Queue
from schemas.codec import encode
from schemas.events import CONTENT_TYPE
from schemas.names import Topology

__all__ = ["SETTINGS", "queues", "servers"]

SETTINGS = "uvloop, SQLite with synchronous=FULL, agent concurrency 16, lifecycle events of runs and steps"
AGENT = "bench"
EVENT = "bench.saga.wanted"
CHUNK = 250  # events published side by side
READY = 30.0  # seconds
ENDED = "SELECT count(*) FROM runs WHERE status IN ('succeeded', 'failed', 'compensated')"

DOCUMENT = f"workflow: bench\ntriggers: [{{event: {EVENT}}}]\nsteps:\n" + "".join(
    f"  - {{id: {step}, action: bench.nothing, target: {AGENT}, idempotent: true}}\n" for step in STEPS
)


def servers(place: Place) -> list[Server]:
    """The processes that are Baton."""
    common = {"BATON_AMQP_URL": place.amqp_url, "BATON_NAMESPACE": place.namespace}
    listen = f"127.0.0.1:{place.port}"
    coordinator = common | {"BATON_DB": str(_database(place)), "BATON_LISTEN": listen}
    agent = common | {"BATON_AGENT_NAME": AGENT, "BATON_STATE_DIR": str(place.directory / "agent")}
    module = Path(__file__).with_name("noop.py")
    return [
        Server("coordinator", _main("orchestrator.cli", "coordinator"), coordinator),
        Server("agent", _main("agents.cli", "--module", str(module)), agent),
    ]


def queues(place: Place) -> list[str]:
    """The queues that are left on the broker."""
    topology = Topology(place.namespace)
    shared = (topology.dead, topology.events_inbox, topology.presence, topology.results_queue("0"))
    return [*shared, topology.expired_queue("0"), topology.agent_queue(AGENT), _ended_queue(place)]


def _main(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", f"from {program} import main; raise SystemExit(main())", *arguments]


def _ended_queue(place: Place) -> str:
    return f"{place.namespace}.bench.ended"


def _database(place: Place) -> Path:
    return place.directory / "baton.db"


class BatonDriver:
    """Publishes events and watches what becomes of them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._topology = Topology(place.namespace)
        self._queue = _ended_queue(place)
        ended = Queue(self._queue, {"x-queue-type": "quorum"})
        wanted = Binding(self._queue, self._topology.lifecycle, "run.*.lone")
        self._bus = AmqpBus(place.amqp_url, Declarations(queues=[ended], bindings=[wanted]), name="bench")
        self._ids = (f"{secrets.token_hex(4)}-{number}" for number in itertools.count())
        self._ended: asyncio.Future[str] | None = None

    async def open(self) -> None:
        """Wait for the coordinator and its agent, and apply the workflow twice: for load, and for lone sagas.

        They differ in name only, so that load causes no messages to this driver.
        """
        await until(self._is_ready, within=READY)
        async with self._api() as api:
            for name, event in (("bench", EVENT), ("lone", f"{EVENT}.lone")):
                document = DOCUMENT.replace("workflow: bench", f"workflow: {name}").replace(EVENT, event)
                (await api.post("/api/workflows", content=document)).raise_for_status()
        await self._bus.start()
        await self._bus.subscribe(self._queue, self._has_ended, prefetch=10)
        await until(self._has_agent, within=READY)

    def _api(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._place.port}", trust_env=False)

    async def _is_ready(self) -> bool:
        try:
            async with self._api() as api:
                return (await api.get("/health/ready")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    async def _has_agent(self) -> bool:
        """Whether a saga succeeds; until the agent has its queue it does not."""
        return await self._lone() == "succeeded"

    async def load(self, count: int) -> None:
        """Publish all events, then wait for the last run."""
        wanted = self._read(ENDED) + count
        for first in range(0, count, CHUNK):
            await self._publish(EVENT, min(CHUNK, count - first))

        async def all_ended() -> bool:
            return self._read(ENDED) >= wanted

        await until(all_ended, within=600)

    async def lone(self) -> None:
        """Publish one event, wait for the lifecycle event."""
        status = await self._lone()
        if status != "succeeded":
            raise RuntimeError(f"a saga ended {status}")

    async def _lone(self) -> str:
        self._ended = asyncio.get_running_loop().create_future()
        await self._publish(f"{EVENT}.lone", 1)
        async with asyncio.timeout(READY):
            return await self._ended

    async def _publish(self, kind: str, count: int) -> None:
        events = [
            {"specversion": "1.0", "id": next(self._ids), "source": "/bench", "type": kind}
            for _ in range(count)
        ]
        messages = [
            Message(self._topology.events, kind, encode(event), content_type=CONTENT_TYPE) for event in events
        ]
        outcomes = await self._bus.publish(messages)
        if any(outcome is not PublishOutcome.CONFIRMED for outcome in outcomes):
            raise RuntimeError("the broker did not take every event")

    def _has_ended(self, delivery: Delivery) -> None:
        status = delivery.routing_key.split(".")[1]
        if status != "started" and self._ended is not None:
            self._ended.set_result(status)
        self._ack = asyncio.ensure_future(self._bus.ack([delivery]))

    def _read(self, query: str) -> int:
        with closing(sqlite3.connect(f"{_database(self._place).as_uri()}?mode=ro", uri=True)) as db:
            (number,) = db.execute(query).fetchone()
            return int(number)

    async def count(self) -> tuple[int, int]:
        """Runs that succeeded, and attempts that did, of which each step has one."""
        runs = self._read("SELECT count(*) FROM runs WHERE status = 'succeeded'")
        return runs, self._read("SELECT count(*) FROM history WHERE kind = 'attempt_succeeded'")

    async def close(self) -> None:
        """Leave the broker."""
        await self._bus.stop()


if __name__ == "__main__":
    serve(BatonDriver)
