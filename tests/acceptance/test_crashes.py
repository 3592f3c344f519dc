"""Real processes killed at every named point: no run lost or stuck, effects as often as the rules allow."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import AgentProcess, CoordinatorProcess, Stage
from tests.support.waiting import eventually, until

MODULE = Path(__file__).parents[1] / "support" / "counted_actions.py"
EVENT = "com.example.crash"

UNDONE = f"""
workflow: undone
triggers:
  - {{event: {EVENT}, key: event.data.key}}
steps:
  - {{id: a, needs: [], action: count.once, target: h1, compensate: {{action: count.once}}}}
  - {{id: b, needs: [], action: count.once, target: h1, compensate: {{action: count.once}}}}
  - id: c
    needs: [a, b]
    action: count.once
    target: h1
    with: {{fail: true}}
    retry: {{attempts: 2, delay: 100ms}}
"""

UNDONE_EFFECTS = Counter({"a execute 1": 1, "b execute 1": 1, "a compensate 1": 1, "b compensate 1": 1})
UNDONE_STARTS = UNDONE_EFFECTS + Counter({"c execute 1": 1, "c execute 2": 1})

COORDINATOR_POINTS = [
    "coordinator.before_decide:2",
    "coordinator.before_commit:2",
    "coordinator.before_commit:4",
    "coordinator.after_commit:2",
    "coordinator.after_commit:5",
    "coordinator.before_publish:1",
    "coordinator.after_publish:2",
    "coordinator.after_confirm:2",
    "coordinator.before_ack:2",
    "coordinator.after_ack:3",
    "coordinator.at_timer:1",
    "coordinator.mid_undo:1",
]


class Counts:
    """What the actions of one stage wrote down."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "counts"
        self.env = {"COUNT_FILE": str(self.file)}

    def of(self, what: str) -> Counter[str]:
        """How often each attempt did `what`, as `<step> <kind> <attempt>`."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return Counter(line.rpartition(" ")[0] for line in lines if line.endswith(f" {what}"))


@pytest.fixture
def counts(tmp_path: Path) -> Counts:
    """A count of its own for each test."""
    return Counts(tmp_path)


def one_step(action: str, gate: str = "") -> str:
    """A workflow of one step on h1."""
    return f"""
workflow: one
triggers:
  - {{event: {EVENT}}}
steps:
  - id: a
    action: {action}
    target: h1
    idempotent: {"true" if action == "count.repeatable" else "false"}
    with: {{gate: "{gate}"}}
"""


async def only_run(coordinator: CoordinatorProcess) -> dict[str, Any]:
    """The run that the event started, in full."""

    async def found() -> dict[str, Any] | None:
        runs = await coordinator.runs()
        return await coordinator.run(runs[0]["id"]) if runs else None

    return await eventually(found, 30, what="a run")


async def status_of(coordinator: CoordinatorProcess, *wanted: str) -> dict[str, Any]:
    """Wait until the only run has one of these statuses."""

    async def reached() -> dict[str, Any] | None:
        run = await only_run(coordinator)
        return run if run["status"] in wanted else None

    return await eventually(reached, 60, what=f"the run to be {wanted}")


def check_undone(run: dict[str, Any], counts: Counts) -> None:
    """The whole story of the `undone` workflow, each effect exactly once."""
    assert run["status"] == "compensated"
    assert counts.of("effect") == UNDONE_EFFECTS
    assert counts.of("start") == UNDONE_STARTS


@pytest.mark.parametrize("point", COORDINATOR_POINTS)
async def test_a_coordinator_killed_anywhere_in_its_loop_loses_and_repeats_nothing(
    point: str, amqp_url: str, namespace: str, tmp_path: Path, counts: Counts
) -> None:
    """SIGKILL at a point of the loop, a restart: the run is undone to its end, every effect exactly once."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        await stage.agent("h1", modules=[MODULE], env=counts.env)
        await coordinator.apply(UNDONE)
        await coordinator.stop()
        coordinator.spawn(failpoint=point)
        await stage.publish(EVENT, {"key": "k"})
        await coordinator.died()
        await coordinator.start()
        check_undone(await coordinator.ended(), counts)


async def test_a_coordinator_killed_again_and_again_gets_there(
    amqp_url: str, namespace: str, tmp_path: Path, counts: Counts
) -> None:
    """Every life ends right after its second commit; still no effect is lost or repeated."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        await stage.agent("h1", modules=[MODULE], env=counts.env)
        await coordinator.apply(UNDONE)
        await coordinator.stop()
        await stage.publish(EVENT, {"key": "k"})
        for _ in range(4):
            coordinator.spawn(failpoint="coordinator.after_commit:2")
            await coordinator.died()
        await coordinator.start()
        check_undone(await coordinator.ended(), counts)


REDELIVERED_OR_ANSWERED = [
    "before_journal",
    "after_journal",
    "after_result_journal",
    "after_publish",
    "after_confirm",
]


@pytest.mark.parametrize("action", ["count.once", "count.repeatable"])
@pytest.mark.parametrize("point", REDELIVERED_OR_ANSWERED)
async def test_an_agent_killed_while_nothing_runs_does_its_work_once(
    point: str, action: str, amqp_url: str, namespace: str, tmp_path: Path, counts: Counts
) -> None:
    """Before it starts or after its result is journaled: the action happens, and happens once."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        agent = await stage.agent("h1", modules=[MODULE], env=counts.env, failpoint=f"agent.{point}")
        await coordinator.apply(one_step(action))
        await stage.publish(EVENT, {})
        await agent.died()
        await agent.start(env=counts.env)
        run = await coordinator.ended()
        assert run["status"] == "succeeded"
        effects = counts.of("effect")
        assert set(effects) == {"a execute 1"}
        if action == "count.once" or point != "after_journal":
            assert effects == Counter({"a execute 1": 1})


@pytest.mark.parametrize(("point", "effects"), [("before_start", 0), ("after_action", 1)])
async def test_an_agent_killed_around_an_action_never_repeats_it_blindly(
    point: str, effects: int, amqp_url: str, namespace: str, tmp_path: Path, counts: Counts
) -> None:
    """Not idempotent and its outcome lost: in doubt, and a person decides; nothing is done twice."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        agent = await stage.agent("h1", modules=[MODULE], env=counts.env, failpoint=f"agent.{point}")
        await coordinator.apply(one_step("count.once"))
        await stage.publish(EVENT, {})
        await agent.died()
        await agent.start(env=counts.env)
        run = await status_of(coordinator, "attention")
        assert run["steps"]["a"]["status"] == "in_doubt"
        assert sum(counts.of("effect").values()) == effects
        decision = {"step": "a", "decision": "done" if effects else "retry", "who": "ops", "why": "looked"}
        await coordinator.post(f"/api/runs/{run['id']}/resolve", decision)
        run = await coordinator.ended()
        assert run["status"] == "succeeded"
        assert sum(counts.of("effect").values()) == 1


@pytest.mark.parametrize("point", ["before_start", "after_action"])
async def test_an_idempotent_action_lost_with_its_agent_is_done_again(
    point: str, amqp_url: str, namespace: str, tmp_path: Path, counts: Counts
) -> None:
    """It may happen twice, and its run succeeds without anybody's help."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        agent = await stage.agent("h1", modules=[MODULE], env=counts.env, failpoint=f"agent.{point}")
        await coordinator.apply(one_step("count.repeatable"))
        await stage.publish(EVENT, {})
        await agent.died()
        await agent.start(env=counts.env)
        assert (await coordinator.ended())["status"] == "succeeded"
        assert 1 <= sum(counts.of("effect").values()) <= 2


@pytest.mark.parametrize("action", ["count.once", "count.repeatable"])
async def test_an_agent_killed_during_an_action(
    action: str, amqp_url: str, namespace: str, tmp_path: Path, counts: Counts
) -> None:
    """In the middle of the work: repeated if that is harmless, else in doubt until a person decides."""
    gate = tmp_path / "gate"
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        agent = await stage.agent("h1", modules=[MODULE], env=counts.env)
        await coordinator.apply(one_step(action, str(gate)))
        await stage.publish(EVENT, {})
        await until(lambda: counts.of("start"), 30, what="the action to start")
        await agent.kill()
        gate.touch()
        await agent.start(env=counts.env)
        if action == "count.once":
            run = await status_of(coordinator, "attention")
            assert counts.of("start") == Counter({"a execute 1": 1}), "never run blindly again"
            skip = {"step": "a", "decision": "skip", "who": "ops", "why": "looked"}
            await coordinator.post(f"/api/runs/{run['id']}/resolve", skip)
        run = await coordinator.ended()
        assert run["status"] == "succeeded"
        assert sum(counts.of("effect").values()) == (0 if action == "count.once" else 1)


async def test_both_killed_at_once(amqp_url: str, namespace: str, tmp_path: Path, counts: Counts) -> None:
    """Coordinator and agent die in mid-run and come back in either order."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        agent = await stage.agent(
            "h1", modules=[MODULE], env=counts.env, failpoint="agent.after_result_journal:2"
        )
        await coordinator.apply(UNDONE)
        await stage.publish(EVENT, {"key": "k"})
        await agent.died()
        await coordinator.kill()
        await agent.start(env=counts.env)
        await coordinator.start()
        check_undone(await coordinator.ended(), counts)


async def started(stage: Stage, counts: Counts, document: str) -> tuple[CoordinatorProcess, AgentProcess]:
    """A coordinator with this workflow, and the agent h1."""
    coordinator = await stage.coordinator()
    agent = await stage.agent("h1", modules=[MODULE], env=counts.env)
    await coordinator.apply(document)
    return coordinator, agent


async def test_sagas_side_by_side_survive_kills(
    amqp_url: str, namespace: str, tmp_path: Path, counts: Counts
) -> None:
    """Twenty events, three kills of the coordinator: twenty runs, each undone once."""
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator, _ = await started(stage, counts, UNDONE)
        await coordinator.stop()
        coordinator.spawn(failpoint="coordinator.after_commit:6")
        await asyncio.gather(*(stage.publish(EVENT, {"key": f"k{number}"}) for number in range(20)))
        for point in ("coordinator.before_ack:3", "coordinator.after_publish:4"):
            await coordinator.died()
            coordinator.spawn(failpoint=point)
        await coordinator.died()
        await coordinator.start()

        async def all_ended() -> bool | None:
            runs = await coordinator.runs()
            return True if len(runs) == 20 and all(run["status"] == "compensated" for run in runs) else None

        await eventually(all_ended, 60, what="the end of twenty runs")
        assert counts.of("effect") == Counter(dict.fromkeys(UNDONE_EFFECTS, 20))
