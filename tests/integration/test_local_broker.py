"""The private broker: its own node on loopback, which leaves nothing behind."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import aio_pika
import pytest

from orchestrator.local.broker import PrivateBroker, _sweep
from orchestrator.local.launch import find_server
from schemas.errors import Conflict, Unreachable
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]

needs_package = pytest.mark.skipif(
    find_server() is None, reason="looks at the processes of an installed RabbitMQ"
)
needs_proc = pytest.mark.skipif(not Path("/proc/self/net").exists(), reason="reads Linux's /proc")


def processes_of(home: Path) -> list[int]:
    """The ids of living processes that carry the directory in their environment, as all of a node's do."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(home).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended while we looked, or not ours
    return found


def listening(pids: list[int]) -> set[str]:
    """The addresses (hexadecimal, as the kernel prints them) on which the processes listen for TCP."""
    inodes = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(fd.readlink()).removeprefix("socket:[").removesuffix("]"))
            except FileNotFoundError:
                continue
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


@needs_package
@needs_proc
async def test_listens_on_loopback_only(broker: PrivateBroker) -> None:
    """AMQP, the node's distribution port and epmd are reachable from this machine only."""
    loopback = {"0100007F", "00000000000000000000000001000000"}
    addresses = listening(processes_of(broker.home))
    assert addresses
    assert addresses <= loopback


async def test_wants_its_own_password(broker: PrivateBroker) -> None:
    """Another user of the machine does not get in with RabbitMQ's well-known account."""
    port = broker.url.rsplit(":", 1)[1]
    with pytest.raises(aio_pika.exceptions.AMQPError):
        await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}", timeout=10)


@needs_proc
async def test_two_at_once_and_nothing_left(tmp_path: Path) -> None:
    """Nodes started at the same moment do not meet; stopped, they leave no process (epmd too) and no file."""
    first, second = PrivateBroker(base=tmp_path), PrivateBroker(base=tmp_path)
    await asyncio.gather(first.start(), second.start())
    async with await aio_pika.connect(first.url) as connection:
        await (await connection.channel()).declare_queue("only-here", durable=True)
    async with await aio_pika.connect(second.url) as connection:
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await (await connection.channel()).get_queue("only-here")
    await asyncio.gather(first.stop(), second.stop())
    await until(lambda: not processes_of(tmp_path), 30, what="the end of all processes")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_restart_keeps_quorum_messages(broker: PrivateBroker, namespace: str, end: str) -> None:
    """A confirmed message in a quorum queue is there after a restart on the same URL, also after SIGKILL."""
    url = broker.url
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(namespace, durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=namespace)
    if end == "killed":
        await broker.kill()
        assert not broker.running
    await broker.restart()
    assert broker.url == url
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue(namespace)
        kept = await queue.get(timeout=10)
        await kept.ack()
        await queue.delete(if_unused=False, if_empty=False)  # quorum queues take no conditions
    assert kept.body == b"kept"


async def test_named_home_is_kept_and_not_shared(tmp_path: Path) -> None:
    """Data in a directory the caller chose is there at the next start, and has one owner at a time."""
    home = tmp_path / "a broker"
    async with PrivateBroker(home) as node:
        async with await aio_pika.connect(node.url) as connection:
            await (await connection.channel()).declare_queue("kept", durable=True)
        with pytest.raises(Conflict):
            await PrivateBroker(home).start()
    async with PrivateBroker(home) as node, await aio_pika.connect(node.url) as connection:
        await (await connection.channel()).get_queue("kept")


@needs_proc
async def test_ends_with_its_owner(tmp_path: Path) -> None:
    """A node whose owner was killed ends by itself, and the sweep of a later start removes its data."""
    script = (
        "import asyncio, sys; from pathlib import Path; from orchestrator.local.broker import PrivateBroker\n"
        "async def main():\n"
        "    async with PrivateBroker(base=Path(sys.argv[1])) as node:\n"
        "        print(node.url, flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), cwd=ROOT, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    assert (await owner.stdout.readline()).startswith(b"amqp://")
    homes = list(tmp_path.iterdir())
    assert len(homes) == 1
    hour_ago = time.time() - 3600
    os.utime(homes[0], (hour_ago, hour_ago))
    _sweep(tmp_path)
    assert homes[0].exists(), "what is in use is not swept away"
    owner.kill()
    await owner.wait()
    await until(lambda: not processes_of(homes[0]), 30, what="the end of all processes")
    os.utime(homes[0], (hour_ago, hour_ago))
    _sweep(tmp_path)
    assert not homes[0].exists()


async def test_command_runs_beside_a_node_and_its_status_counts(tmp_path: Path) -> None:
    """`-- CMD` gives the command a broker that answers, and its exit status is the whole command's."""
    code = (
        "import os, pika; pika.BlockingConnection(pika.URLParameters(os.environ['BATON_AMQP_URL'])).close();"
        "raise SystemExit(7)"
    )
    env = {k: v for k, v in os.environ.items() if k != "BATON_AMQP_URL"} | {"PYTHONPATH": str(ROOT)}
    argv = [
        sys.executable,
        "-m",
        "orchestrator.local.broker",
        "--",
        sys.executable,
        "-W",
        "ignore",
        "-c",
        code,
    ]
    process = await asyncio.create_subprocess_exec(*argv, env=env, cwd=tmp_path)
    assert await process.wait() == 7
    assert not list((tmp_path / ".baton").iterdir())


@needs_package
async def test_boot_failure_shows_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that cannot boot ends the start with the end of its log, and without leaving files."""
    broken = tmp_path / "rabbitmq-server"
    broken.write_text("#!/bin/sh\necho the disk is on fire\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("orchestrator.local.broker.find_server", lambda: broken)
    base = tmp_path / "base"
    with pytest.raises(Unreachable, match="the disk is on fire"):
        await PrivateBroker(base=base).start()
    assert not list(base.iterdir())


async def test_nothing_to_run_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without RabbitMQ and Docker the error names the ways out."""
    monkeypatch.setattr("orchestrator.local.broker.find_server", lambda: None)
    monkeypatch.setattr("orchestrator.local.broker.docker_runs", lambda: False)
    with pytest.raises(Unreachable) as caught:
        await PrivateBroker(base=tmp_path).start()
    assert "rabbitmq-server" in caught.value.hint
    assert not list(tmp_path.iterdir())
