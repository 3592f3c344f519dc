"""Real processes for tests: a coordinator and agents in a namespace, directory and port of their own.

    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator(failpoint="coordinator.after_commit:3")
        await stage.agent("web-1", modules=[path])
        await coordinator.died()           # by the failpoint
        await coordinator.start()          # the same database and port, without the failpoint

Everything that was started is killed at the end, by process id, and its queues are removed from the broker.
Logs are files in the directory; they are printed at the end, which pytest shows if the test failed.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import aio_pika
import httpx

from schemas.names import Topology
from tests.support.waiting import eventually, until

__all__ = ["AgentProcess", "CoordinatorProcess", "Stage", "free_port"]

ROOT: Final = Path(__file__).parents[2]
READY: Final = 30.0  # seconds; a start takes one or two, more on a busy machine
STOP: Final = 20.0  # seconds
TAIL: Final = 60  # lines of a log that an error shows
ENDED: Final = ("succeeded", "failed", "compensated", "cancelled")


def free_port() -> int:
    """A loopback port that is free now, below those the kernel gives to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """One process that can be started again and again; every life appends to the same log."""

    def __init__(self, stage: "Stage", name: str, program: str, arguments: Sequence[str]) -> None:
        self.name = name
        self.log = stage.directory / f"{name}.log"
        self._stage = stage
        self._argv = [
            sys.executable,
            "-c",
            f"from {program} import main; raise SystemExit(main())",
            *arguments,
        ]
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of this life or of the last one."""
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        return self._popen is not None and self._popen.poll() is None

    def spawn(self, *, failpoint: str = "", env: Mapping[str, str] | None = None) -> None:
        """Start it and do not wait. `failpoint` is for this life only (`runtime.failpoint`)."""
        assert not self.running, f"{self.name} already runs"
        environment = self._stage.environment | dict(env or {})
        if failpoint:
            environment["BATON_FAILPOINT"] = failpoint
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._argv,
                cwd=self._stage.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def died(self, within: float = READY) -> int:
        """Wait until it has ended by itself; its exit status, negative for a signal."""
        await until(lambda: not self.running, within)
        return self._status()

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
            await self.died(STOP)

    async def stop(self) -> int:
        """SIGTERM, and wait for an orderly end; the exit status."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
        return await self.died(STOP)

    def text(self) -> str:
        """Everything it logged, in all its lives."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _status(self) -> int:
        assert self._popen is not None
        return self._popen.wait()

    async def _until_ready(self, is_ready: Callable[[], Awaitable[bool]], *, may_die: bool) -> None:
        """Wait for readiness; `may_die` says that SIGKILL before that is as good."""

        async def settled() -> bool | None:
            return True if not self.running or await is_ready() else None

        try:
            await eventually(settled, READY, what=f"readiness of {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self._tail()}") from None
        if not self.running and not (may_die and self._status() == -signal.SIGKILL):
            raise AssertionError(
                f"{self.name} ended with {self._status()} before it was ready:\n{self._tail()}"
            )

    def _tail(self) -> str:
        return "\n".join(self.text().splitlines()[-TAIL:])


class CoordinatorProcess(Process):
    """`baton coordinator` and its API."""

    def __init__(self, stage: "Stage") -> None:
        super().__init__(stage, "coordinator", "orchestrator.cli", ["coordinator"])
        self.url = stage.environment["BATON_URL"]

    async def start(self, *, failpoint: str = "", env: Mapping[str, str] | None = None) -> Self:
        """Start it and wait until events are taken in, or until a failpoint has killed it before that."""
        self.spawn(failpoint=failpoint, env=env)

        async def is_ready() -> bool:
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"{self.url}/health/ready")).is_success
            except httpx.TransportError:
                return False

        await self._until_ready(is_ready, may_die=bool(failpoint))
        return self

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON that a GET gives."""
        async with httpx.AsyncClient() as client:
            return _json(await client.get(f"{self.url}{path}", params=query))

    async def post(self, path: str, body: Any = None) -> Any:
        """The JSON that a POST of JSON gives."""
        async with httpx.AsyncClient() as client:
            return _json(await client.post(f"{self.url}{path}", json=body))

    async def apply(self, document: str) -> Any:
        """Apply a workflow document."""
        headers = {"Content-Type": "application/yaml"}
        async with httpx.AsyncClient() as client:
            return _json(await client.post(f"{self.url}/api/workflows", content=document, headers=headers))

    async def runs(self) -> list[dict[str, Any]]:
        """The newest runs, without their payloads."""
        items: list[dict[str, Any]] = (await self.get("/api/runs"))["items"]
        return items

    async def run(self, run_id: str) -> dict[str, Any]:
        """One run in full."""
        shown: dict[str, Any] = await self.get(f"/api/runs/{run_id}")
        return shown

    async def ended(self, within: float = 60.0, **which: Any) -> dict[str, Any]:
        """Wait for the end of the one run of which this is true, such as `key="v1"`; gives it in full."""

        async def found() -> dict[str, Any] | None:
            runs = [run for run in await self.runs() if run | which == run]
            assert len(runs) < 2, f"{which} is true of {len(runs)} runs"
            return await self.run(runs[0]["id"]) if runs and runs[0]["status"] in ENDED else None

        return await eventually(found, within, what=f"the end of the run {which}")


class AgentProcess(Process):
    """`baton-agent`, with a state directory of its own."""

    def __init__(self, stage: "Stage", name: str, pools: Sequence[str], arguments: Sequence[str]) -> None:
        self.state = stage.directory / f"agent-{name}"
        flags = ["--name", name, "--state-dir", str(self.state), *arguments]
        flags += [flag for pool in pools for flag in ("--pool", pool)]
        super().__init__(stage, f"agent-{name}", "agents.cli", flags)
        self.queues = [stage.topology.agent_queue(name), *map(stage.topology.pool_queue, pools)]

    async def start(self, *, failpoint: str = "", env: Mapping[str, str] | None = None) -> Self:
        """Start it and wait until it takes commands."""
        self.spawn(failpoint=failpoint, env=env)
        own, *_ = self.queues
        await self._until_ready(lambda: self._stage.has_consumer(own), may_die=bool(failpoint))
        return self


class Stage:
    """Where one test's processes play: a namespace on the broker, a directory, a port, an environment."""

    def __init__(
        self, amqp_url: str, namespace: str, directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.amqp_url = amqp_url
        self.directory = directory
        self.topology = Topology(namespace)
        self.environment = _environment(amqp_url, namespace, directory) | dict(env or {})
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            await process.kill()
        for process in self._processes:
            sys.stdout.write(f"--- {process.log}\n{process.text()}\n")
        await self._clean_broker()

    async def coordinator(
        self, *, failpoint: str = "", env: Mapping[str, str] | None = None
    ) -> CoordinatorProcess:
        """Start a coordinator on this stage's database."""
        process = CoordinatorProcess(self)
        self._processes.append(process)
        return await process.start(failpoint=failpoint, env=env)

    async def agent(
        self,
        name: str,
        *,
        modules: Sequence[Path] = (),
        pools: Sequence[str] = (),
        arguments: Sequence[str] = (),
        failpoint: str = "",
        env: Mapping[str, str] | None = None,
    ) -> AgentProcess:
        """Start an agent; `modules` are files with actions, `arguments` further flags."""
        flags = [flag for module in modules for flag in ("--module", str(module))]
        process = AgentProcess(self, name, pools, [*flags, *arguments])
        self._processes.append(process)
        return await process.start(failpoint=failpoint, env=env)

    async def publish(
        self, event_type: str, data: Any, *, event_id: str = "", headers: Mapping[str, Any] | None = None
    ) -> str:
        """Publish a CloudEvent as a business system would, confirmed; gives its id."""
        event_id = event_id or str(uuid.uuid4())
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "/tests",
            "type": event_type,
            "data": data,
        }
        message = aio_pika.Message(
            json.dumps(event).encode(),
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers=dict(headers or {}),
        )
        async with await aio_pika.connect(self.amqp_url) as connection:
            channel = await connection.channel(on_return_raises=True)
            exchange = await channel.get_exchange(self.topology.events)
            await exchange.publish(message, routing_key=event_type)
        return event_id

    async def stop(self) -> None:
        """Stop everything in order, the coordinator last; each must end well."""
        for process in reversed(self._processes):
            if process.running:
                status = await process.stop()
                assert status == 0, f"{process.name} ended with {status}"

    async def has_consumer(self, queue: str) -> bool:
        """Whether the queue exists and somebody consumes from it."""
        async with await aio_pika.connect(self.amqp_url) as connection:
            channel = await connection.channel()
            try:
                found = await channel.declare_queue(queue, passive=True)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                return False
            return bool(found.declaration_result.consumer_count)

    async def _clean_broker(self) -> None:
        """Remove the namespace from the broker, which others may share."""
        topology = self.topology
        agents = [process for process in self._processes if isinstance(process, AgentProcess)]
        queues = [queue for agent in agents for queue in agent.queues]
        queues += [topology.events_inbox, topology.presence, topology.dead]
        queues += [topology.results_queue("0"), topology.expired_queue("0")]
        exchanges = [topology.events, topology.commands, topology.results, topology.lifecycle, topology.dead]
        async with await aio_pika.connect(self.amqp_url) as connection:
            channel = await connection.channel()
            for queue in queues:
                await channel.queue_delete(queue)
            for exchange in exchanges:
                await channel.exchange_delete(exchange)


def _environment(amqp_url: str, namespace: str, directory: Path) -> dict[str, str]:
    """What the processes see: this machine's environment without settings meant for others."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "OTEL_"))
    }
    address = f"127.0.0.1:{free_port()}"
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "BATON_AMQP_URL": amqp_url,
        "BATON_NAMESPACE": namespace,
        "BATON_DB": str(directory / "baton.db"),
        "BATON_LISTEN": address,
        "BATON_URL": f"http://{address}",
    }


def _json(response: httpx.Response) -> Any:
    assert response.is_success, (
        f"{response.request.method} {response.url}: {response.status_code} {response.text}"
    )
    return response.json()
