"""A real agent process on a real broker: shutdown, a broken network, the command line, traces."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.messages import CommandKind, ResultStatus
from schemas.names import REASON_HEADER
from tests.support.agent_stage import Counted, agent_stage, counting_agent
from tests.support.agents import Desk, about, command
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.processes import ROOT, Stage
from tests.support.proxy import Proxy
from tests.support.waiting import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
async def play(amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[Stage, Desk]]:
    """A stage and a desk."""
    async with agent_stage(amqp_url, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    """The counting actions and their file."""
    return Counted(tmp_path)


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tree(pids: Path) -> list[str]:
    """A program with a child that ignores SIGTERM and a grandchild that left the group; each notes its id."""
    script = f"""
        (trap '' TERM; echo $BASHPID >> {pids}; while :; do sleep 1; done) &
        (setsid sh -c 'echo $$ >> {pids}; exec sleep 600' &)
        echo $$ >> {pids}; wait
    """
    return ["bash", "-c", script]


async def started(pids: Path) -> list[int]:
    """The process ids of the tree, once all have started."""
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    return [int(pid) for pid in pids.read_text().split()]


async def test_a_timeout_kills_the_tree(play: tuple[Stage, Desk], tmp_path: Path) -> None:
    """When `timed_out` is said, nothing of the program runs any more, and the agent goes on."""
    stage, desk = play
    await stage.agent("a")
    asked = command("exec.run", {"argv": tree(tmp_path / "pids")}, timeout=2.0)
    await desk.send(asked)
    pids = await started(tmp_path / "pids")
    result = await desk.final(asked)
    assert result.status is ResultStatus.TIMED_OUT
    assert result.started_at is not None
    await until(lambda: not any(map(alive, pids)), within=2)
    other = command("exec.run", {"argv": ["true"]}, attempt=2)
    await desk.send(other)
    assert (await desk.final(other)).status is ResultStatus.SUCCEEDED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_grace(
    play: tuple[Stage, Desk], tmp_path: Path, number: signal.Signals
) -> None:
    """The tree is killed, the result is `cancelled` with `started_at`, presence says `stopping`, exit 0."""
    stage, desk = play
    agent = await stage.agent("a")
    asked = command("exec.run", {"argv": tree(tmp_path / "pids")})
    await desk.send(asked)
    pids = await started(tmp_path / "pids")
    os.kill(agent.pid, number)
    await until(lambda: desk.presences[-1].stopping)
    os.kill(agent.pid, number)
    assert await agent.died() == 0
    assert not any(map(alive, pids))
    result = await desk.final(asked)
    assert result.status is ResultStatus.CANCELLED
    assert result.started_at is not None


async def test_the_grace_lets_actions_end(play: tuple[Stage, Desk], counted: Counted) -> None:
    """What ends within it is told before the agent goes."""
    stage, desk = play
    agent = await counting_agent(stage, counted)
    asked = command("once", counted.args(hold=True))
    await desk.send(asked)
    await until(lambda: counted.count("start"))
    os.kill(agent.pid, signal.SIGTERM)
    await until(lambda: desk.presences[-1].stopping)
    counted.release()
    assert await agent.died() == 0
    assert (await desk.final(asked)).status is ResultStatus.SUCCEEDED


async def test_the_network_breaks_again_and_again(
    amqp_url: str, namespace: str, tmp_path: Path, counted: Counted
) -> None:
    """Every command ends once and none starts twice, however often the connection is cut."""
    async with Proxy(amqp_url) as proxy, agent_stage(amqp_url, namespace, tmp_path) as (stage, desk):
        await counting_agent(stage, counted, env={"BATON_AMQP_URL": proxy.url})
        asked = [command("once", counted.args(), attempt=n + 1) for n in range(120)]
        chance = random.Random(7)
        for cut in range(6):
            await desk.send(*asked[cut * 20 : cut * 20 + 20])
            await proxy.carry(chance.randrange(100, 2000))
            proxy.cut()
        for each in asked:
            assert (await desk.final(each, within=60)).status is ResultStatus.SUCCEEDED
            assert counted.count("start", each.id) == 1


async def test_a_result_waits_for_the_network(
    amqp_url: str, namespace: str, tmp_path: Path, counted: Counted
) -> None:
    """An action that ends while the broker cannot be reached is told as soon as it can."""
    async with Proxy(amqp_url) as proxy, agent_stage(amqp_url, namespace, tmp_path) as (stage, desk):
        agent = await counting_agent(stage, counted, env={"BATON_AMQP_URL": proxy.url})
        asked = command("once", counted.args(hold=True))
        await desk.send(asked)
        await until(lambda: counted.count("start"))
        proxy.refuse()
        counted.release()
        await until(lambda: counted.count("effect"))
        attempts = proxy.attempts
        await proxy.attempted(attempts + 2)
        proxy.accept()
        assert (await desk.final(asked)).status is ResultStatus.SUCCEEDED
        assert agent.text().count("lost the broker") == 1


async def test_garbage_is_set_aside(play: tuple[Stage, Desk]) -> None:
    """To the dead letters with a reason; what comes after it is served."""
    stage, desk = play
    await stage.agent("a")
    await desk.send_raw(b"garbage")
    await desk.send(command("", {}, kind=CommandKind.CANCEL))
    letters = await desk.dead(2)
    reasons = {letter.body[:7]: letter.headers[REASON_HEADER] for letter in letters}
    assert reasons.pop(b"garbage").startswith("malformed: ")
    assert "command_id" in reasons.popitem()[1]
    await desk.bus.release(letters)
    asked = command("exec.run", {"argv": ["echo", "hi"]})
    await desk.send(asked)
    assert (await desk.final(asked)).output["stdout"] == "hi\n"


async def test_a_namesake_waits(play: tuple[Stage, Desk], counted: Counted) -> None:
    """Of two agents with one name the first serves, and the second takes over when it is gone."""
    stage, desk = play
    first = await counting_agent(stage, counted)
    second = await counting_agent(stage, counted, arguments=["--state-dir", str(stage.directory / "other")])
    for attempt in range(1, 6):
        asked = command("once", counted.args(), attempt=attempt)
        await desk.send(asked)
        result = await desk.final(asked)
        assert result.instance_id == desk.presences[0].instance_id
    await first.stop()
    asked = command("once", counted.args(), attempt=6)
    await desk.send(asked)
    assert (await desk.final(asked)).instance_id != desk.presences[0].instance_id
    await second.stop()


async def test_one_state_directory_one_agent(play: tuple[Stage, Desk]) -> None:
    """A second agent on it is refused in one line that names the first."""
    stage, _ = play
    agent = await stage.agent("a")
    done = baton_agent(stage, "--name", "b", "--state-dir", str(agent.state))
    assert done.returncode == 2
    assert str(agent.pid) in done.stderr
    assert "Traceback" not in done.stderr


def baton_agent(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `baton-agent` to its end."""
    code = "from agents.cli import main; raise SystemExit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=stage.directory,
        env=stage.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_an_attempt_is_a_span(play: tuple[Stage, Desk], counted: Counted) -> None:
    """Child of the command's trace context, parent of what the action calls; what is in it is no payload."""
    stage, desk = play
    with OtlpReceiver() as receiver:
        agent = await counting_agent(stage, counted, env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
        good = command("exec.run", {"argv": ["env"], "stdin": "canary"})
        bad = command("exec.run", {"argv": ["sh", "-c", "echo canary; exit 3"]}, attempt=2)
        for each in (good, bad):
            await desk.send(each, traceparent=f"00-{TRACE}-{SPAN}-01")
        told = (await desk.final(good)).output["stdout"]
        await desk.final(bad)
        await agent.stop()
        spans = {span.attributes["baton.attempt"]: span for span in receiver.wait_for(lambda s: len(s) == 2)}
    first, second = spans[1], spans[2]
    name = stage.topology.agent_queue("{name}")
    assert {(span.name, span.kind, span.service) for span in spans.values()} == {
        (f"process {name}", "consumer", "baton-agent")
    }
    assert {(span.trace_id, span.parent_id) for span in spans.values()} == {(TRACE, SPAN)}
    assert f"TRACEPARENT=00-{TRACE}-{first.span_id}-01" in told
    assert (
        first.attributes | {"baton.outcome": "succeeded", "messaging.system": "rabbitmq"} == first.attributes
    )
    assert first.attributes["messaging.destination.template"] == name
    assert (first.attributes["baton.run.id"], first.attributes["baton.action"]) == ("r", "exec.run")
    assert (first.error, second.error, second.attributes["error.type"]) == (False, True, "exit_code")
    assert "canary" not in repr(spans)


def test_telemetry_costs_nothing_when_it_is_off() -> None:
    """Nothing of OpenTelemetry is imported by an agent without an endpoint."""
    code = """if True:
        import sys, agents.cli, agents.settings, pathlib
        agents.cli._telemetry(agents.settings.Settings("a", pathlib.Path(".")))
        sys.exit(sum(name.startswith("opentelemetry") for name in sys.modules))
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, timeout=60, check=False)
    assert done.returncode == 0


async def test_asking_is_answered_across_restarts(play: tuple[Stage, Desk], counted: Counted) -> None:
    """A query about a finished command gets its result from the next life of the agent too."""
    stage, desk = play
    agent = await counting_agent(stage, counted)
    asked = command("once", counted.args())
    await desk.send(asked)
    first = await desk.final(asked)
    assert await agent.stop() == 0
    await agent.start()
    await desk.send(about(CommandKind.QUERY, asked))
    assert await desk.final(asked, count=2) == first
    assert counted.count("start") == 1
