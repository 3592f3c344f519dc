"""The demo's stage: a coordinator, three hosts with an agent and an application each, and the downloads."""

import asyncio
import contextlib
import hashlib
import http.server
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aio_pika
import httpx

HERE = Path(__file__).resolve().parent
HOSTS = ("web-1", "web-2", "web-3")
PATIENCE = 60.0

T = TypeVar("T")


class DemoFailed(Exception):
    """Something was not as promised."""


async def until(what: str, probe: Callable[[], Awaitable[T | None]]) -> T:
    """Ask `probe` until it gives something; `DemoFailed` if that takes too long."""
    try:
        async with asyncio.timeout(PATIENCE):
            while (found := await probe()) is None:  # noqa: ASYNC110 - another process tells, by HTTP only
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        raise DemoFailed(f"{what} took longer than {PATIENCE:.0f} s") from None


def free_port() -> int:
    """A loopback port that was free just now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Downloads:
    """A web server on loopback that has the releases' archives."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        handler = partial(_Quiet, directory=str(directory))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, version: str, *, broken_on: str = "") -> dict[str, str]:
        """Build a release; returns the data of the event that announces it."""
        files = {"web_app.py": (HERE / "web_app.py").read_bytes(), "VERSION": version.encode()}
        if broken_on:
            files["BROKEN_ON"] = broken_on.encode()
        path = self._directory / f"{version}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        url = f"http://127.0.0.1:{self._server.server_port}/{path.name}"
        return {"version": version, "url": url, "sha256": digest}

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Stage:
    """Every process of the demo, in one directory and one namespace; `close` leaves none of them behind."""

    def __init__(self, directory: Path, amqp_url: str) -> None:
        self.directory = directory
        self.ports = {host: free_port() for host in HOSTS}
        self.url = f"http://127.0.0.1:{free_port()}"
        self._amqp_url = amqp_url
        self._namespace = f"demo-{uuid.uuid4().hex[:8]}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.downloads = Downloads(directory / "downloads")

    def start(self, name: str, program: str, *arguments: str, **env: str) -> int:
        """Start one of Baton's commands; its log is a file. Returns its process id."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "BATON_AMQP_URL": self._amqp_url,
                    "BATON_NAMESPACE": self._namespace,
                    "BATON_DB": str(self.directory / "baton.db"),
                    "BATON_LISTEN": self.url.removeprefix("http://"),
                    "BATON_URL": self.url,
                    **env,
                },
            )
        return self._processes[name].pid

    async def start_coordinator(self) -> int:
        """Start the coordinator and wait until it takes in events."""
        pid = self.start("coordinator", "orchestrator.cli", "coordinator")
        await until("starting the coordinator", self._is_ready)
        return pid

    async def start_agents(self) -> None:
        """Start an agent for each host and wait until the coordinator has heard of all of them."""
        for host in HOSTS:
            root = self.directory / host
            root.mkdir()
            flags = ("--name", host, "--label", "role=web", "--state-dir", str(root / "agent"))
            module = str(HERE / "host_actions.py")
            env = {"APP_ROOT": str(root), "APP_PORT": str(self.ports[host])}
            self.start(host, "agents", *flags, "--module", module, **env)

        async def all_known() -> bool | None:
            known = await self.get("/api/agents")
            return True if {agent["name"] for agent in known["items"]} >= set(HOSTS) else None

        await until("starting the agents", all_known)

    def kill(self, name: str) -> int:
        """SIGKILL, as a crash would; returns the id of the process that was."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        return process.pid

    async def publish(self, event_type: str, data: dict[str, str]) -> None:
        """What a business system does: publish a CloudEvent, confirmed."""
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": "/demo/release-desk",
            "type": event_type,
            "data": data,
        }
        async with await aio_pika.connect(self._amqp_url) as connection:
            channel = await connection.channel(on_return_raises=True)
            exchange = await channel.get_exchange(f"{self._namespace}.events")
            message = aio_pika.Message(
                json.dumps(event).encode(),
                content_type="application/cloudevents+json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await exchange.publish(message, routing_key=event_type)

    async def get(self, path: str) -> Any:
        """The JSON at a path of the coordinator's API."""
        async with httpx.AsyncClient(timeout=10.0) as client:
            response = await client.get(self.url + path)
            response.raise_for_status()
            return response.json()

    async def apply(self, document: str) -> None:
        """Store a workflow document."""
        async with httpx.AsyncClient(timeout=10.0) as client:
            headers = {"Content-Type": "application/yaml"}
            response = await client.post(self.url + "/api/workflows", content=document, headers=headers)
            if response.is_error:
                raise DemoFailed(f"the workflow was refused: {response.text}")

    async def serving(self) -> dict[str, str]:
        """What each application says over HTTP that it is."""
        versions = {}
        async with httpx.AsyncClient(timeout=5.0) as client:
            for host, port in self.ports.items():
                try:
                    versions[host] = (await client.get(f"http://127.0.0.1:{port}/")).json()["version"]
                except httpx.TransportError:
                    versions[host] = "nothing"
        return versions

    async def close(self) -> None:
        """End every process that was started, applications included, and remove the queues."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for host in HOSTS:
            pid_file = self.directory / host / "app.pid"
            if pid_file.exists():
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                    os.killpg(int(pid_file.read_text()), signal.SIGKILL)
        self.downloads.close()
        await self._clean_broker()

    async def _is_ready(self) -> bool | None:
        process = self._processes["coordinator"]
        if process.poll() is not None:
            raise DemoFailed(f"the coordinator ended: see {self.directory / 'coordinator.log'}")
        try:
            await self.get("/health/ready")
        except httpx.HTTPError:
            return None
        return True

    async def _clean_broker(self) -> None:
        name = self._namespace
        queues = (
            "events.inbox",
            "results.0",
            "expired.0",
            "presence",
            "dead",
            *(f"agent.{host}" for host in HOSTS),
        )
        async with await aio_pika.connect(self._amqp_url) as connection:
            channel = await connection.channel()
            for queue in queues:
                await channel.queue_delete(f"{name}.{queue}")
            for exchange in ("events", "commands", "results", "lifecycle", "dead"):
                await channel.exchange_delete(f"{name}.{exchange}")
