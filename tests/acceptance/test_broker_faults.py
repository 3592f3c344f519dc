"""The broker and the network taken away in mid-run: no run lost, none stuck, every effect exactly once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.local.broker import PrivateBroker
from orchestrator.local.launch import docker_runs, find_server
from runtime.bus.amqp import AmqpBus
from runtime.bus.port import Declarations
from tests.support.processes import AgentProcess, CoordinatorProcess, Process, Stage
from tests.support.proxy import Proxy
from tests.support.waiting import eventually, until

MODULE = Path(__file__).parents[1] / "support" / "counted_actions.py"
EVENT = "com.example.fault"

EFFECTS = Counter(
    {"a execute 1": 1, "b execute 1": 1, "c execute 1": 1, "a compensate 1": 1, "b compensate 1": 1}
)


def document(gate: Path, undo_gate: Path) -> str:
    """Two steps side by side, a third that waits for a gate, a fourth that fails; one undo has a gate too."""
    return f"""
workflow: faulty
triggers:
  - {{event: {EVENT}, key: event.data.key}}
steps:
  - id: a
    needs: []
    action: count.once
    target: h1
    compensate: {{action: count.once, with: {{gate: "{undo_gate}"}}}}
  - {{id: b, needs: [], action: count.once, target: h1, compensate: {{action: count.once}}}}
  - {{id: c, needs: [a, b], action: count.once, target: h1, with: {{gate: "{gate}"}}}}
  - {{id: d, action: count.once, target: h1, with: {{fail: true}}}}
"""


class Scene:
    """A stage whose coordinator and agent each reach the broker by way of a proxy, if there are any."""

    def __init__(self, stage: Stage, *proxies: Proxy) -> None:
        self.stage = stage
        self.proxies = proxies
        urls = [proxy.url for proxy in proxies] or [stage.amqp_url] * 2
        self.gate, self.undo_gate = stage.directory / "gate", stage.directory / "undo-gate"
        self.counts = stage.directory / "counts"
        self.coordinator_env = {"BATON_AMQP_URL": urls[0]}
        self.agent_env = {"BATON_AMQP_URL": urls[1], "COUNT_FILE": str(self.counts)}
        self.coordinator: CoordinatorProcess
        self.agent: AgentProcess

    async def begin(self) -> None:
        """Start both processes and apply the workflow."""
        self.coordinator = await self.stage.coordinator(env=self.coordinator_env)
        self.agent = await self.stage.agent("h1", modules=[MODULE], env=self.agent_env)
        await self.coordinator.apply(document(self.gate, self.undo_gate))

    async def publish(self, runs: int) -> None:
        """One event for each run."""
        await asyncio.gather(*(self.stage.publish(EVENT, {"key": f"k{number}"}) for number in range(runs)))

    def of(self, what: str) -> Counter[str]:
        """How often each attempt did `what`, as `<step> <kind> <attempt>`."""
        lines = self.counts.read_text().splitlines() if self.counts.exists() else []
        return Counter(line.rpartition(" ")[0] for line in lines if line.endswith(f" {what}"))

    async def done(self, what: str, attempt: str, runs: int) -> None:
        """Wait until so many runs have done this."""
        await until(lambda: self.of(what)[attempt] == runs, 60, what=f"{runs} times {attempt} {what}")

    async def check(self, runs: int) -> None:
        """Every run is compensated, and each of its effects happened once."""

        async def all_ended() -> bool | None:
            found = await self.coordinator.runs()
            return True if [run["status"] for run in found] == ["compensated"] * runs else None

        await eventually(all_ended, 90, what=f"the end of {runs} runs")
        assert self.of("effect") == Counter(dict.fromkeys(EFFECTS, runs))
        assert self.of("start") == self.of("effect") + Counter({"d execute 1": runs})
        stranded = [line for line in (await self.metrics()) if line.startswith("baton_runs_stranded")]
        assert stranded == ["baton_runs_stranded 0.0"]

    async def metrics(self) -> list[str]:
        """The lines of `/metrics`."""
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{self.coordinator.url}/metrics")).text.splitlines()


@pytest.fixture
async def scene(amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """One on the broker that all tests share; nothing is started yet."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Stage(amqp_url, namespace, tmp_path))
        proxies = [await stack.enter_async_context(Proxy(amqp_url)) for _ in range(2)]
        yield Scene(stage, *proxies)


@pytest.fixture
def node(request: pytest.FixtureRequest) -> PrivateBroker:
    """A broker that may be killed."""
    if find_server() is None and not docker_runs():
        pytest.skip("no rabbitmq-server and no Docker here to run a node that may be killed")
    found: PrivateBroker = request.getfixturevalue("broker")
    return found


def told(process: Process, *words: str) -> list[str]:
    """What a process logged with one of these words in it, without the time."""
    lines = (line.partition(" ")[2] for line in process.text().splitlines())
    return [line for line in lines if any(word in line for word in words)]


async def test_a_broker_killed_and_restarted_in_mid_run(
    node: PrivateBroker, namespace: str, tmp_path: Path
) -> None:
    """SIGKILL while steps run, an orderly restart while undos run; what ended meanwhile is not lost."""
    runs = 4
    async with Stage(node.url, namespace, tmp_path) as stage:
        scene = Scene(stage)
        await scene.begin()
        await scene.publish(runs)
        await scene.done("start", "c execute 1", runs)
        await node.kill()
        scene.gate.touch()
        await scene.done("effect", "c execute 1", runs)
        await until(lambda: told(scene.coordinator, "lost the broker"))
        await node.restart()
        await scene.done("start", "a compensate 1", runs)
        await node.restart()
        scene.undo_gate.touch()
        await scene.check(runs)
        for process in (scene.coordinator, scene.agent):
            assert len(told(process, "lost the broker")) == 2
            assert len(told(process, "connected to the broker")) == 3
            assert len(told(process, "cannot use the broker")) <= 8, "one line for each change, not each try"
            assert told(process, "Traceback", " ERROR ") == []


async def storm(proxy: Proxy, cuts: int) -> None:
    """Cut in the midst of traffic; every other time what the broker says, confirms too, is lost before."""
    for number in range(cuts):
        proxy.silent = bool(number % 2)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await proxy.carry(4_000)
        before = proxy.attempts
        proxy.cut()
        proxy.silent = False
        async with asyncio.timeout(30):
            await proxy.attempted(before + 2)  # a process has two connections


async def test_connections_cut_again_and_again(scene: Scene) -> None:
    """Of the coordinator and of the agent, before and after confirms: every effect once."""
    runs = 12
    scene.gate.touch()
    scene.undo_gate.touch()
    await scene.begin()
    storms = [asyncio.create_task(storm(proxy, 10)) for proxy in scene.proxies]
    await scene.publish(runs)
    await asyncio.gather(*storms)
    await scene.check(runs)
    assert await scene.coordinator.get("/api/dead") == {
        "items": [],
        "looked_at": 0,
        "more": False,
        "next": None,
    }
    for process in (scene.coordinator, scene.agent):
        assert told(process, "Traceback", " ERROR ") == []


async def test_half_open_connections(scene: Scene) -> None:
    """What the broker says is lost, commands and confirms alike, until the connections are reset."""
    runs = 3
    await scene.begin()
    await scene.publish(runs)
    await scene.done("start", "c execute 1", runs)
    for gate, proof in ((scene.gate, "d execute 1"), (scene.undo_gate, "a compensate 1")):
        for proxy in scene.proxies:
            proxy.silent = True
        carried = asyncio.gather(*(proxy.carry(300) for proxy in scene.proxies[1:]))
        gate.touch()
        await asyncio.wait_for(carried, 30)  # the results are with the broker, which nobody hears say so
        for proxy in scene.proxies:
            proxy.cut()
            proxy.silent = False
        await scene.done("start", proof, runs)
    await scene.check(runs)


async def test_a_peer_that_falls_silent_is_taken_for_dead(
    amqp_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing arrives and nothing is reset: heartbeats find out, and the bus connects again."""
    monkeypatch.setattr("runtime.bus.session.HEARTBEAT", 1)
    async with Proxy(amqp_url) as proxy:
        bus = AmqpBus(proxy.url, Declarations(), name=namespace, timeout=1)
        await bus.start()
        proxy.silent = True
        await until(lambda: not bus.connected, 20, what="the heartbeats' verdict")
        proxy.silent = False
        async with asyncio.timeout(20):
            await bus.wait_connected()
        await bus.stop()


async def test_a_broker_away_at_the_start(scene: Scene) -> None:
    """Both processes wait for it, say so once, and lose nothing of what was asked meanwhile."""
    scene.gate.touch()
    scene.undo_gate.touch()
    await scene.begin()
    to_coordinator, to_agent = scene.proxies
    for process in (scene.agent, scene.coordinator):
        assert await process.stop() == 0
    for proxy in scene.proxies:
        proxy.refuse()
        proxy.attempts = 0
    await scene.stage.publish(EVENT, {"key": "waited on the broker"})
    scene.coordinator.spawn(env=scene.coordinator_env)
    scene.agent.spawn(env=scene.agent_env)

    async def started() -> Any:
        with suppress(httpx.TransportError):
            return await scene.coordinator.post("/api/runs", {"workflow": "faulty", "key": "by hand"})
        return None

    assert await eventually(started, 30, what="the API without a broker")
    for proxy in scene.proxies:
        async with asyncio.timeout(30):
            await proxy.attempted(5)
    for process in (scene.coordinator, scene.agent):
        assert 1 <= len(told(process, "cannot use the broker")) <= 2, "not a line for each try"
    to_agent.accept()
    own = scene.stage.topology.agent_queue("h1")

    async def consumed() -> bool | None:
        return await scene.stage.has_consumer(own) or None

    await eventually(consumed, 30, what="the agent at work")
    to_coordinator.accept()
    await scene.check(2)
