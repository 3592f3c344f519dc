"""The coordinator as a process: store, bus, loop, telemetry and API, wired together in one event loop.

The API is up before the broker is: `/health/live` answers at once, `/health/ready` once events are taken in.
What must stop everything (the disk, a lost epoch, a fault of the loop) ends `serve` with that error.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from orchestrator.api import Parts, create_api
from orchestrator.api.server import ApiServer, bind, check_listen
from orchestrator.deadletters import DeadLetterBox
from orchestrator.loop.coordinator import Coordinator
from orchestrator.loop.intake import Content, TelemetryDone
from orchestrator.metrics import Metrics
from orchestrator.settings import Settings
from orchestrator.store.reader import SqliteReader
from orchestrator.store.sqlite import SqliteStore
from orchestrator.telemetry import TelemetryExporter, telemetry_from_environment
from orchestrator.topology import coordinator_declarations
from orchestrator.world import SystemWorld
from runtime.bus.amqp import AmqpBus
from runtime.bus.session import place
from schemas.errors import InternalError, Unreachable
from schemas.names import Topology

__all__ = ["serve"]

log = logging.getLogger(__name__)


async def serve(settings: Settings, *, stop: asyncio.Event | None = None) -> None:
    """Run a coordinator until SIGINT, SIGTERM or `stop`; then end in order and return.

    Raises `BatonError` when it cannot start or cannot go on: bad settings, a port or database in use, a disk
    that fails, an epoch that was lost.
    """
    host, port = check_listen(settings.listen, settings.token)
    topology = Topology(settings.namespace)
    path = Path(settings.db)
    path.parent.mkdir(parents=True, exist_ok=True)
    bus = AmqpBus(
        settings.amqp_url, coordinator_declarations(topology, settings.shard), name="baton coordinator"
    )
    async with contextlib.AsyncExitStack() as closing:
        store, reader = SqliteStore(path, settings.shard), SqliteReader(path)
        await store.open()
        closing.push_async_callback(store.close)
        await reader.open()
        closing.push_async_callback(reader.close)
        listener = bind(host, port)
        closing.callback(listener.close)
        metrics, world = Metrics(), SystemWorld()
        coordinator = Coordinator(settings, topology, store, bus, world, metrics)
        life = _Life(coordinator, bus, settings)
        parts = Parts(
            settings=settings,
            reader=reader,
            submit=life.submit,
            dead=DeadLetterBox(bus, topology),
            metrics=metrics.render,
            why_not_ready=life.why_not_ready,
        )
        api = ApiServer(create_api(parts), listener)
        log.info(
            "coordinator on %s, database %s, broker %s, namespace %s",
            api.url,
            path,
            place(settings.amqp_url),
            settings.namespace,
        )
        telemetry = telemetry_from_environment(
            settings, store, reader, lambda cursor: life.submit(TelemetryDone(cursor)), world.now
        )
        await life.live(api, telemetry, stop or asyncio.Event())


class _Life:
    """One coordinator from its start to its end."""

    def __init__(self, coordinator: Coordinator, bus: AmqpBus, settings: Settings) -> None:
        self._coordinator = coordinator
        self._bus = bus
        self._settings = settings
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def live(self, api: ApiServer, telemetry: TelemetryExporter | None, stop: asyncio.Event) -> None:
        """Start everything, wait for a reason to end, and end it: first what needs the loop."""
        with _signals(stop):
            await api.start()
            connecting = asyncio.create_task(self._bus.start(), name="connect to the broker")
            try:
                await self._coordinator.start()
                await self._work(api, telemetry, stop)
            finally:
                self._end()
                await api.stop()
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
                await self._bus.stop()

    async def _work(self, api: ApiServer, telemetry: TelemetryExporter | None, stop: asyncio.Event) -> None:
        """Run the loop until it fails, the API does, or `stop` is set."""
        running = asyncio.create_task(self._coordinator.run(), name="coordinator")
        running.add_done_callback(lambda _: self._end())
        try:
            async with _exporting(telemetry):
                await _first(running, asyncio.create_task(stop.wait()), asyncio.create_task(api.wait()))
                if not running.done() and not stop.is_set():
                    raise InternalError(
                        "the API's server ended by itself", hint="start the coordinator again"
                    )
                log.info("the coordinator stops")
                await api.stop()
        finally:
            self._coordinator.stop()
            await running

    async def submit(self, content: Content) -> Any:
        """`Coordinator.submit`, which nobody answers once the loop has failed."""
        answer = asyncio.ensure_future(self._coordinator.submit(content))
        try:
            await asyncio.wait((answer, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
        finally:
            answer.cancel()
        raise Unreachable("the coordinator has stopped", code="stopping", hint="start it again")

    def why_not_ready(self) -> str:
        """Why events are not taken in; empty when they are."""
        if self._ended.done():
            return "the coordinator is stopping"
        if not self._bus.connected:
            return f"no connection to the broker at {place(self._settings.amqp_url)}; the log says why"
        return "" if self._coordinator.ready else "the coordinator is starting"

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


async def _first(*tasks: asyncio.Task[Any]) -> None:
    """Wait for the first of these; the others, but the coordinator itself, are cancelled."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)


@contextlib.asynccontextmanager
async def _exporting(telemetry: TelemetryExporter | None) -> AsyncIterator[None]:
    """Export spans meanwhile, if they are wanted; at the end those that are left, within seconds."""
    if telemetry is None:
        yield
        return
    task = asyncio.create_task(telemetry.run(), name="telemetry")
    try:
        yield
    finally:
        await telemetry.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop`; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    asked = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        stop.set()
        for number in asked:
            loop.remove_signal_handler(number)

    for number in asked:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        for number in asked:
            loop.remove_signal_handler(number)
