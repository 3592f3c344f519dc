"""The API on real sockets, in a coordinator of its own process, on a real broker."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.api import server
from orchestrator.api.guard import MAX_BODY_BYTES
from orchestrator.api.server import ApiServer, bind
from schemas.errors import Conflict, Unreachable
from tests.support.processes import CoordinatorProcess, Stage
from tests.support.waiting import eventually

HELLO = """\
workflow: hello
triggers: [{event: com.example.hello, key: event.data.key, input: {name: "${{ event.data.name }}"}}]
steps: [{id: only, action: do.it, target: nobody}]
"""


@pytest.fixture
async def stage(amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage of the test's own."""
    async with Stage(amqp_url, namespace, tmp_path) as running:
        yield running


async def test_events_over_http_start_runs(stage: Stage) -> None:
    """An event over HTTP and one over AMQP start runs alike; an unknown agent fails the step by name."""
    coordinator = await stage.coordinator()
    await coordinator.apply(HELLO)
    event = {
        "specversion": "1.0", "id": "1", "source": "/t", "type": "com.example.hello",
        "data": {"key": "a", "name": "x"},
    }  # fmt: skip
    async with httpx.AsyncClient() as client:
        headers = {"content-type": "application/cloudevents+json"}
        answer = await client.post(
            f"{coordinator.url}/api/events", content=json.dumps(event), headers=headers
        )
    assert answer.status_code == 202
    await stage.publish("com.example.hello", {"key": "b", "name": "y"})
    for key in ("a", "b"):
        run = await coordinator.ended(key=key)
        assert run["status"] == "failed"
        assert run["steps"]["only"]["error"]["code"] == "agent_unknown"
        assert "nobody" in run["steps"]["only"]["error"]["message"]


async def test_it_lives_without_a_broker(stage: Stage) -> None:
    """Without a broker it lives, is not ready and says why, stores documents, and ends in order."""
    coordinator = CoordinatorProcess(stage)
    stage._processes.append(coordinator)
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        port = nobody.getsockname()[1]
        coordinator.spawn(env={"BATON_AMQP_URL": f"amqp://u:hush@127.0.0.1:{port}/"})
        async with httpx.AsyncClient(base_url=coordinator.url) as client:
            await _until_live(client, coordinator)
            answer = await client.get("/health/ready")
            assert answer.status_code == 503
            assert str(port) in answer.json()["error"]["message"]
            assert (await client.post("/api/workflows", content=HELLO)).status_code == 200
            assert (await client.get("/api/dead")).status_code == 503
        assert await coordinator.stop() == 0
    assert "hush" not in coordinator.text()
    assert "Traceback" not in coordinator.text()


async def test_a_second_coordinator_is_refused(stage: Stage) -> None:
    """On one database the second ends with 1 and names the first; on one port it says so."""
    first = await stage.coordinator()
    second = CoordinatorProcess(stage)
    second.log = stage.directory / "second.log"
    stage._processes.append(second)
    second.spawn()
    assert await second.died() == 1
    assert f"in use by process {first.pid}" in second.text()
    second.spawn(env={"BATON_DB": str(stage.directory / "other.db")})
    assert await second.died() == 1
    assert "is in use by another process" in second.text()
    assert "Traceback" not in second.text()
    assert first.running


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"BATON_LISTEN": "0.0.0.0:0"}, "no token is set"),
        ({"BATON_LISTEN": "nonsense"}, "is not an address"),
        ({"BATON_AMQP_URL": "http://x"}, "AMQP URL"),
        ({"BATON_DB": "/proc/nope/baton.db"}, "/proc/nope"),
        ({"BATON_LOG": "loud"}, "BATON_LOG"),
        ({"BATON_MAX_BATCH": "0"}, "BATON_MAX_BATCH"),
    ],
)
async def test_settings_that_cannot_be_are_one_clear_line(
    stage: Stage, env: dict[str, str], words: str
) -> None:
    """A coordinator that cannot start says why in one line, without a traceback, and ends with 1."""
    coordinator = CoordinatorProcess(stage)
    stage._processes.append(coordinator)
    coordinator.spawn(env=env)
    assert await coordinator.died() in (1, 3)
    assert words in coordinator.text()
    assert "Traceback" not in coordinator.text()


async def test_a_token_guards_everything_but_health(stage: Stage) -> None:
    """With a token, the API answers those who have it and tells the others nothing."""
    coordinator = await stage.coordinator(env={"BATON_TOKEN": "open-sesame"})
    async with httpx.AsyncClient(base_url=coordinator.url) as client:
        assert (await client.get("/api/runs")).status_code == 401
        good = {"authorization": "Bearer open-sesame"}
        assert (await client.get("/api/runs", headers=good)).status_code == 200
    assert "open-sesame" not in coordinator.text()


async def test_sigterm_and_sigint_end_it_in_order(stage: Stage) -> None:
    """Either signal ends it with 0, also while a client holds a connection open."""
    coordinator = await stage.coordinator()
    async with httpx.AsyncClient(base_url=coordinator.url) as client:
        await client.get("/health/live")
        os.kill(coordinator.pid, signal.SIGINT)
        assert await coordinator.died() == 0
    await coordinator.start()
    assert await coordinator.stop() == 0
    assert "Traceback" not in coordinator.text()


async def test_a_lost_epoch_ends_it(stage: Stage) -> None:
    """When something else has raised the epoch, the coordinator writes nothing more and ends with 1."""
    import sqlite3

    coordinator = await stage.coordinator()
    with closing(sqlite3.connect(stage.directory / "baton.db")) as db, db:
        db.execute("UPDATE shards SET epoch = epoch + 1")
    async with httpx.AsyncClient(base_url=coordinator.url) as client:
        answer = await client.post("/api/workflows", content=HELLO)
    assert answer.status_code == 503
    assert await coordinator.died() == 1
    assert "epoch" in coordinator.text()
    assert "Traceback" not in coordinator.text()


# Attacks on the server itself, in this process


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads its body and says so."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    """Where a server of ours listens."""
    listener = bind("127.0.0.1", 0)
    api = ApiServer(_echo, listener)
    await api.start()
    yield listener.getsockname()
    await api.stop()


async def test_headers_that_drip_are_cut_off(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that never ends its headers loses its connection; one that asks in time does not."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\n")
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://{address[0]}:{address[1]}/")).text == "ok"


async def test_headers_beyond_the_limit_are_refused(address: tuple[str, int]) -> None:
    """Endless headers end the connection with a 400."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000)
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_garbage_is_a_400_and_the_server_lives(address: tuple[str, int]) -> None:
    """What is not HTTP is refused, and the next client is served."""
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(garbage + b"\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://{address[0]}:{address[1]}/")).text == "ok"


async def test_an_oversized_body_gets_its_answer(stage: Stage) -> None:
    """A client that sends too much hears 413 in our words, rather than a reset, and the server lives."""
    coordinator = await stage.coordinator()
    async with httpx.AsyncClient(base_url=coordinator.url, timeout=30) as client:
        answer = await client.post("/api/events", content=b"x" * (3 * MAX_BODY_BYTES))
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
        assert (await client.get("/health/ready")).status_code == 200


def test_localhost_is_ipv4() -> None:
    """`localhost` means the address that every client tries; IPv6 is had by its own name."""
    with closing(bind("localhost", 0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_said() -> None:
    """Who listens second gets a `Conflict` with the port, at another machine's address `Unreachable`."""
    with closing(bind("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(Conflict, match=str(port)) as taken:
            bind("127.0.0.1", port)
        assert taken.value.code == "port_in_use"
    with pytest.raises(Unreachable):
        bind("192.0.2.1", 0)
    with pytest.raises(Unreachable):
        bind("no-such-host.invalid", 0)


async def _until_live(client: httpx.AsyncClient, coordinator: CoordinatorProcess) -> None:
    async def live() -> bool | None:
        assert coordinator.running, coordinator.text()
        try:
            return (await client.get("/health/live")).is_success or None
        except httpx.TransportError:
            return None

    await eventually(live, within=30, what="the API")
