"""The command line when something is away: an agent, the coordinator, patience."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest

from tests.support.command import Baton
from tests.support.processes import Stage


@pytest.fixture
async def baton(amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Baton]:
    """The command, where a coordinator and an agent of the test's own run."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        yield await Baton.on(stage)


async def test_cancelling_from_the_command_line(baton: Baton) -> None:
    """A run on an agent that is away is cancelled; a second time is refused with 1."""
    await baton.stage._processes[-1].stop()
    run_id = (await baton("start", "greet", "--input", '{"name": "eva"}', "--key", "k")).out.strip()
    taken = await baton("start", "greet", "--input", '{"name": "eva"}', "--key", "k")
    assert taken.code == 1
    assert run_id in taken.err
    cancelled = await baton("runs", "cancel", run_id, "--reason", "changed my mind")
    assert cancelled.code == 0
    assert "changed my mind" in (await baton("runs", "history", run_id)).out


async def test_ctrl_c_while_watching(baton: Baton) -> None:
    """Ctrl-C leaves the run alone, ends with 130 and says nothing."""
    await baton.stage._processes[-1].stop()
    process = await baton.start("start", "greet", "--input", '{"name": "eva"}', "--wait")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        run_id = (await process.stdout.readline()).split()[1].decode()
        await process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, err) == (130, b""), out
    assert (await baton.coordinator.run(run_id))["status"] == "running"


async def test_watching_outlasts_a_restart(baton: Baton) -> None:
    """A coordinator killed and started again in the middle costs `--wait` a line, not the run."""
    (baton.stage.directory / "slow.yaml").write_text(
        "workflow: slow\nsteps: [{id: nap, action: exec.run, target: web-1, with: {argv: [sleep, '4']}}]\n"
    )
    assert (await baton("apply", "slow.yaml")).code == 0
    process = await baton.start("start", "slow", "--wait")
    assert process.stdout is not None
    await process.stdout.readline()
    await process.stdout.readline()
    await baton.coordinator.kill()
    await baton.coordinator.start()
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out


async def test_the_doctor(baton: Baton) -> None:
    """All well is 0. A queue declared otherwise, no broker, no API: 1, each with what to do."""
    well = await baton("doctor", "--json")
    assert well.code == 0, well.out
    assert {check["name"]: check["verdict"] for check in well.json["items"]} == dict.fromkeys(
        ("broker", "permissions", "topology", "database", "api", "clocks"), "ok"
    )
    topology = baton.stage.topology
    await baton.coordinator.stop()
    async with await aio_pika.connect(baton.stage.amqp_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(topology.presence)
        await channel.declare_queue(topology.presence, durable=True, arguments={"x-queue-type": "classic"})
    ill = await baton("doctor")
    assert ill.code == 1
    assert topology.presence in ill.out
    assert "choose another --namespace" in ill.out
    assert "is the coordinator running" in ill.out
    alone = await baton("doctor", "--amqp", "amqp://127.0.0.1:1/", "--json")
    assert [check["verdict"] for check in alone.json["items"][:3]] == ["fail", "skip", "skip"]
