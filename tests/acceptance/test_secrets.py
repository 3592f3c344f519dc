"""A secret, end to end: an agent uses it and gives it away wherever it can; nowhere else is it ever seen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika

from tests.support.otlp_receiver import OtlpReceiver
from tests.support.processes import CoordinatorProcess, Stage
from tests.support.waiting import until

CANARY = 'canary-7e1b"\\-pä-tail5c2d'
PARTS = ("canary-7e1b", "tail5c2d")

DOCUMENT = """
workflow: guarded
triggers: [{event: com.example.wanted, input: {asked: "${{ event.data.asked }}"}}]
steps:
  - id: use
    action: app.use
    target: web-1
    with: {password: '${{ secret("db.password") }}', asked: "${{ input.asked }}"}
    compensate:
      action: app.undo
      with: {header: 'Bearer ${{ secret("db.password") }} for ${{ run.workflow }}'}
  - id: program
    action: exec.run
    target: web-1
    with: {argv: [sh, -c, "cat; cat >&2; env"], stdin: 'it is ${{ secret("db.password") }}'}
  - id: fail
    action: app.fail
    target: web-1
    with: {password: '${{ secret("db.password") }}'}
"""

LACKING = """
workflow: lacking
steps:
  - {id: a, action: app.fail, target: web-1, idempotent: true, with: {password: '${{ secret("none") }}'}}
"""

MODULE = '''
"""Actions that give away what they were trusted with."""
import asyncio
import logging
from typing import Any
from agents import Agent, Context

agent = Agent()


@agent.action("app.use")
async def use(ctx: Context, password: str, asked: Any) -> Any:
    assert len(password) == 25, "not the secret itself"
    ctx.log(f"with {password}")
    ctx.log(repr({"password": password}))
    logging.getLogger("app").warning("with %s", password)
    ctx.progress({"with": password})
    await asyncio.sleep(0.8)
    return {"url": f"pg://{password}@db", password: [password], "asked": asked}


@agent.action("app.undo", idempotent=True)
async def undo(ctx: Context, header: str) -> str:
    assert header.endswith(" for guarded")
    return header


@agent.action("app.fail")
async def fail(ctx: Context, password: str) -> None:
    raise RuntimeError(f"cannot log in with {password}")
'''

LOOKS_LIKE_ONE = {
    "$secret": "db.password",
    "secrets": [{"path": ["asked"], "parts": [{"name": "db.password"}]}],
    "text": '${{ secret("db.password") }}',
}


@asynccontextmanager
async def overhearing(stage: Stage) -> AsyncIterator[list[bytes]]:
    """Everything that is published in the namespace meanwhile: bodies, headers and routing keys."""
    heard: list[bytes] = []

    async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        heard.append(message.body + repr((message.headers, message.routing_key)).encode())

    async with await aio_pika.connect(stage.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        topology = stage.topology
        for exchange in (topology.events, topology.results, topology.lifecycle, topology.dead):
            await queue.bind(exchange, "#")
        await queue.bind(topology.commands, topology.agent_key("web-1"))
        await queue.consume(hear, no_ack=True)
        yield heard


async def begin(stage: Stage, endpoint: str) -> CoordinatorProcess:
    """A coordinator that knows the workflows, and the agent that knows the secret."""
    stage.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    stage.environment |= {"BATON_LOG_LEVEL": "DEBUG", "PYTHONASYNCIODEBUG": "1"}
    coordinator = await stage.coordinator()
    for document in (DOCUMENT, LACKING):
        await coordinator.apply(document)
    here = stage.directory / "of-the-agent"
    here.mkdir()
    (here / "db.password").write_text(CANARY + "\n", encoding="utf-8")
    (here / "app.py").write_text(MODULE)
    await stage.agent("web-1", modules=[here / "app.py"], arguments=["--secrets", str(here)])
    return coordinator


def kept(directory: Path) -> dict[str, bytes]:
    """Every file of the processes: databases, journals, logs."""
    found = (path for path in directory.rglob("*") if path.is_file() and "of-the-agent" not in path.parts)
    return {path.name: path.read_bytes() for path in found}


def check_hidden(where: str, text: bytes) -> None:
    """Neither the value nor a part of it, however it is written."""
    for part in PARTS:
        assert part.encode() not in text, f"{where} has {part}"


async def test_a_secret_is_seen_by_its_action_only(stage: Stage) -> None:
    """Not in the database, the journal, the logs, the API, the spans or any message; `***` stands for it."""
    with OtlpReceiver() as receiver:
        coordinator = await begin(stage, receiver.endpoint)
        async with overhearing(stage) as heard:
            await stage.publish("com.example.wanted", {"asked": LOOKS_LIKE_ONE})
            run = await coordinator.ended()
            await coordinator.post("/api/runs", {"workflow": "lacking"})
            refused = await coordinator.ended(workflow="lacking")
            await until(lambda: any(b"run.failed.lacking" in message for message in heard), 20)
        history = await coordinator.get(f"/api/runs/{run['id']}/history")
        await stage.stop()
        spans = repr(receiver.spans).encode()

    assert run["status"] == "compensated"
    use, program, fail = (run["steps"][name] for name in ("use", "program", "fail"))
    assert use["output"] == {"url": "pg://***@db", "***": ["***"], "asked": LOOKS_LIKE_ONE}
    assert program["output"]["stdout"].startswith("it is ***")
    assert fail["error"] == {"code": "exception", "message": "RuntimeError: cannot log in with ***"}
    assert refused["status"] == "failed"
    assert (refused["steps"]["a"]["attempts"], refused["steps"]["a"]["error"]["code"]) == (1, "no_secret")
    everything = {"the run": repr(run).encode(), "its history": repr(history).encode(), "the spans": spans}
    everything |= {f"message {number}": body for number, body in enumerate(heard)} | kept(stage.directory)
    for where, text in everything.items():
        check_hidden(where, text)
    assert b"***" in everything["baton.db"]
    assert b"with ***" in everything["agent-web-1.log"]
    assert b"baton.outcome" in spans
