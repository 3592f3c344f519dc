"""SIGKILL of a real agent at every point of its loop: how often an action starts, and what is said of it.

An idempotent action may start again; one that is not starts at most once per command, and where nobody can
know whether it took effect the agent says `unknown`, unless the action has a probe that can tell (rule 7).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.messages import CommandKind, ResultStatus
from tests.support.agent_stage import Counted, agent_stage, counting_agent
from tests.support.agents import Desk, about, command
from tests.support.processes import Stage
from tests.support.waiting import until

ACTIONS = ("again", "once", "probed")
DONE = (1, 1, "succeeded")
# failpoint: for each of these, starts, effects, what the coordinator hears in the end
EXPECTED = {
    "agent.before_journal": (DONE, DONE, DONE),
    "agent.after_journal": (DONE, DONE, DONE),
    "agent.before_start": (DONE, (0, 0, "unknown"), (0, 0, "never_seen")),
    "agent.after_action": ((2, 2, "succeeded"), (1, 1, "unknown"), DONE),
    "agent.after_result_journal": (DONE, DONE, DONE),
    "agent.after_publish": (DONE, DONE, DONE),
    "agent.after_confirm": (DONE, DONE, DONE),
}


@pytest.fixture
async def play(amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[Stage, Desk]]:
    """A stage and a desk."""
    async with agent_stage(amqp_url, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    """The counting actions and their file."""
    return Counted(tmp_path)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("failpoint", EXPECTED)
async def test_killed_at(play: tuple[Stage, Desk], counted: Counted, failpoint: str, action: str) -> None:
    """Exactly as many starts and effects as the rules allow, one outcome, and the same again when asked."""
    stage, desk = play
    agent = await counting_agent(stage, counted, failpoint=failpoint)
    asked = command(action, counted.args())
    await desk.send(asked)
    assert await agent.died() == -9
    await agent.start()
    result = await desk.final(asked)
    starts, effects, status = EXPECTED[failpoint][ACTIONS.index(action)]
    assert (counted.count("start"), counted.count("effect"), str(result.status)) == (starts, effects, status)
    heard = len([each for each in desk.results if each.status.is_final])
    await desk.send(about(CommandKind.QUERY, asked))
    again = await desk.final(asked, count=heard + 1)
    assert again == result
    assert counted.count("start") == starts
    assert {each.status for each in desk.results if each.status.is_final} == {result.status}


@pytest.mark.parametrize("action", ["again", "once"])
async def test_killed_while_it_runs(play: tuple[Stage, Desk], counted: Counted, action: str) -> None:
    """The idempotent one runs again to its end; the other is reported as unknown, with when it started."""
    stage, desk = play
    agent = await counting_agent(stage, counted)
    asked = command(action, counted.args(hold=True))
    await desk.send(asked)
    await until(lambda: counted.count("start"))
    await agent.kill()
    counted.release()
    await agent.start()
    result = await desk.final(asked)
    if action == "again":
        assert (result.status, counted.count("start"), counted.count("effect")) == (
            ResultStatus.SUCCEEDED,
            2,
            1,
        )
    else:
        assert (result.status, counted.count("start"), counted.count("effect")) == (
            ResultStatus.UNKNOWN,
            1,
            0,
        )
        assert result.started_at is not None


async def test_killed_while_it_runs_with_a_probe(play: tuple[Stage, Desk], counted: Counted) -> None:
    """Its effect had not come: the probe says so, for good, and the action is not run again."""
    stage, desk = play
    agent = await counting_agent(stage, counted)
    asked = command("probed", counted.args(hold=True))
    await desk.send(asked)
    await until(lambda: counted.count("start"))
    await agent.kill()
    await agent.start()
    result = await desk.final(asked)
    assert (result.status, result.started_at) == (ResultStatus.NEVER_SEEN, None)
    counted.release()
    await desk.send(about(CommandKind.QUERY, asked), asked)
    assert await desk.final(asked, count=3) == result
    assert (counted.count("start"), counted.count("effect"), counted.count("probe")) == (1, 0, 1)


async def test_killed_with_a_queue(play: tuple[Stage, Desk], counted: Counted) -> None:
    """What waited its turn certainly did not start: it runs after the restart, once each."""
    stage, desk = play
    agent = await counting_agent(stage, counted, arguments=["--concurrency", "1"])
    first = command("once", counted.args(hold=True))
    others = [command("once", counted.args(), attempt=n) for n in range(2, 12)]
    await desk.send(first, *others)
    await until(lambda: counted.count("start"))
    # The agent answers questions in order, so once this one is answered it has taken all of them.
    await desk.send(about(CommandKind.QUERY, others[-1]))
    await until(lambda: desk.of(others[-1]))
    await agent.kill()
    counted.release()
    await agent.start()
    assert (await desk.final(first)).status is ResultStatus.UNKNOWN
    for each in others:
        assert (await desk.final(each)).status is ResultStatus.SUCCEEDED
        assert counted.count("start", each.id) == counted.count("effect", each.id) == 1


@pytest.mark.parametrize("failpoint", ["agent.before_journal", "agent.after_journal", "agent.after_action"])
async def test_killed_in_the_midst_of_many(
    play: tuple[Stage, Desk], counted: Counted, failpoint: str
) -> None:
    """Fifty commands, killed again and again: each ends once, none that is not idempotent starts twice."""
    stage, desk = play
    agent = await counting_agent(stage, counted, failpoint=f"{failpoint}:3")
    asked = [command(("once", "again")[n % 2], counted.args(), attempt=n + 1) for n in range(50)]
    for each in asked:
        await desk.send(each)

    def settled() -> bool:
        ended = {each.command_id for each in desk.results if each.status.is_final}
        return all(each.id in ended for each in asked)

    for life in range(1, 60):
        await until(lambda: not agent.running or settled(), within=30)
        if agent.running:
            break
        await agent.start(failpoint=f"{failpoint}:{3 + life}")  # a little further each time
    for each in asked:
        result = await desk.final(each)
        starts = counted.count("start", each.id)
        if each.action == "once":
            assert starts <= 1
            assert result.status is ResultStatus.UNKNOWN or (starts, str(result.status)) == (1, "succeeded")
        else:
            assert result.status is ResultStatus.SUCCEEDED
            assert starts >= 1


async def test_programs_die_with_their_agent(play: tuple[Stage, Desk], tmp_path: Path) -> None:
    """A program whose end nobody would learn of does not go on behind the coordinator's back."""
    stage, desk = play
    agent = await stage.agent("a")
    child, daemon = tmp_path / "child", tmp_path / "daemon"
    script = f"sleep 600 & echo $! > {child}; (setsid sh -c 'echo $$ > {daemon}; exec sleep 600' &); wait"
    asked = command("exec.run", {"argv": ["sh", "-c", script]})
    await desk.send(asked)
    await until(lambda: all(file.exists() and file.read_text().strip() for file in (child, daemon)))
    await agent.kill()
    await until(lambda: not running(child), what="the end of the program's process group")
    await agent.start()
    assert (await desk.final(asked)).status is ResultStatus.UNKNOWN
    await until(lambda: not running(daemon), what="the end of the program's daemon")


def running(noted: Path) -> bool:
    """Whether the process whose id was noted is there and not a zombie."""
    try:
        return Path(f"/proc/{int(noted.read_text())}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
