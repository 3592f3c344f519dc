"""What people do to runs in mid-run, how many runs there may be at once, and what the world is told."""

import asyncio
from pathlib import Path
from typing import Any

import aio_pika

from schemas.events import read_event
from tests.support.command import Baton
from tests.support.processes import CoordinatorProcess, Stage
from tests.support.waiting import eventually, until

EVENT = "com.example.steered"
MODULE = Path(__file__).parents[1] / "support" / "counted_actions.py"


def cancelled(name: str, second: str, directory: Path) -> str:
    """A workflow whose first step writes a file, and whose second is in the middle of something."""
    return f"""
workflow: {name}
steps:
  - id: first
    action: file.write
    target: h1
    with: {{path: "{directory}/{name}.txt", content: x}}
    compensate: {{action: file.remove, with: {{path: "{directory}/{name}.txt"}}}}
  - id: second
    {second}
  - {{id: third, action: exec.run, target: h1, with: {{argv: ["touch", "{directory}/{name}.third"]}}}}
"""


def alive(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def step_is(stage: Baton, run_id: str, status: str, **more: Any) -> None:
    """Wait until the run's second step stands so."""

    async def look() -> bool | None:
        step = (await stage.coordinator.run(run_id))["steps"]["second"]
        return True if step["status"] == status and step | more == step else None

    await eventually(look, 30, what=f"{run_id} second {status}")


async def begin(coordinator: CoordinatorProcess, workflow: str) -> str:
    """Start a run, and give its id."""
    run_id: str = (await coordinator.post("/api/runs", {"workflow": workflow}))["id"]
    return run_id


async def test_rule_9_cancel_in_the_middle_of_anything(amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """A program with children, a wait for the next attempt, a command that nobody takes: all are undone."""
    pids = tmp_path / "pids"
    script = f"echo $$ >> {pids}; (echo $BASHPID >> {pids}; sleep 300 & echo $! >> {pids}; wait) & wait"
    work = {
        "program": f'action: exec.run\n    target: h1\n    with: {{argv: [bash, -c, "{script}"]}}',
        "retry": "action: exec.run\n    target: h1\n    retry: {attempts: 2, delay: 1h, max_delay: 1h}\n"
        '    with: {argv: ["false"]}',
        "away": 'action: exec.run\n    target: h2\n    with: {argv: ["true"]}',
        "pool": 'action: exec.run\n    target: {pool: some}\n    with: {argv: ["true"]}',
    }
    async with Stage(amqp_url, namespace, tmp_path, {"BATON_START_WITHIN": "15"}) as stage:
        away = await stage.agent("h2", pools=["some"])
        coordinator = await stage.coordinator()
        await stage.agent("h1")
        await away.stop()
        baton = Baton(stage, coordinator)
        for name, second in work.items():
            await coordinator.apply(cancelled(name, second, tmp_path))
        runs = {"program": await begin(coordinator, "program")}
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 3, 30, what="the program")
        family = [int(pid) for pid in pids.read_text().split()]
        assert all(alive(pid) for pid in family)
        # Last, as what nobody takes expires by itself.
        runs |= {name: await begin(coordinator, name) for name in ("retry", "away", "pool")}
        await asyncio.gather(*(step_is(baton, run_id, "running") for run_id in runs.values()))
        answers = await asyncio.gather(
            *(
                baton("runs", "cancel", run_id, "--reason", "enough", "--who", "eva")
                for run_id in runs.values()
            )
        )
        assert [answer.code for answer in answers] == [0] * len(runs), answers
        for name, run_id in runs.items():
            run = await coordinator.ended(id=run_id)
            assert (run["status"], run["reason"]) == ("cancelled", "enough"), name
            steps = {step: shown["status"] for step, shown in run["steps"].items()}
            assert steps == {"first": "compensated", "second": "cancelled", "third": "cancelled"}, name
            assert not (tmp_path / f"{name}.txt").exists()
            assert not (tmp_path / f"{name}.third").exists()
        await until(
            lambda: not any(alive(pid) for pid in family), 10, what="the end of the program's children"
        )
        again = await baton("runs", "cancel", runs["retry"])
        assert again.code == 1
        assert "already ended" in again.err


UNDO_FAILS = """
workflow: stubborn
steps:
  - id: a
    action: exec.run
    target: h1
    with: {{argv: ["true"]}}
    compensate: {{action: exec.run, with: {{argv: [test, -e, "{flag}"]}}, retry: {{attempts: 1}}}}
  - {{id: b, action: exec.run, target: h1, with: {{argv: ["false"]}}}}
"""


async def test_rule_5_a_person_resolves_failed_undos(amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """By command line: tried again it works, done is taken as done, skipped the run ends `failed`."""
    flag = tmp_path / "flag"
    async with Stage(amqp_url, namespace, tmp_path) as stage:
        coordinator = await stage.coordinator()
        await stage.agent("h1")
        baton = Baton(stage, coordinator)
        await coordinator.apply(UNDO_FAILS.format(flag=flag))
        wanted = {"retry": "compensated", "done": "compensated", "skip": "failed"}
        runs = {
            decision: (await coordinator.post("/api/runs", {"workflow": "stubborn"}))["id"]
            for decision in wanted
        }

        async def parked() -> bool | None:
            page = await coordinator.get("/api/runs", status="attention")
            return True if len(page["items"]) == len(runs) else None

        await eventually(parked, 30, what="the runs to need a person")
        flag.touch()
        for decision, run_id in runs.items():
            answer = await baton(
                "runs", "resolve", run_id, "a", "--decision", decision, "--why", "looked", "--who", "eva"
            )
            assert answer.code == 0, answer.err
            run = await coordinator.ended(id=run_id)
            assert run["status"] == wanted[decision]
            history = (await coordinator.get(f"/api/runs/{run_id}/history"))["items"]
            [fact] = [item for item in history if item["fact"] == "task_resolved"]
            assert (fact["decision"], fact["who"], fact["why"]) == (decision, "eva", "looked")
        assert "given up" in (await coordinator.run(runs["skip"]))["reason"]
        late = await baton("runs", "resolve", runs["done"], "a", "--decision", "skip", "--why", "late")
        assert late.code == 1


async def test_a_flood_of_events_waits_on_the_broker(amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """Never more runs than the limit and what was on its way; every event gets its run in the end."""
    limit, events, gate = 3, 30, tmp_path / "gate"
    document = f"""
workflow: flood
triggers:
  - {{event: {EVENT}, key: event.data.key}}
steps:
  - {{id: a, action: count.repeatable, target: h1, with: {{gate: "{gate}"}}}}
"""
    async with Stage(amqp_url, namespace, tmp_path, {"BATON_MAX_ACTIVE_RUNS": str(limit)}) as stage:
        coordinator = await stage.coordinator()
        await stage.agent("h1", modules=[MODULE], env={"COUNT_FILE": str(tmp_path / "counts")})
        await coordinator.apply(document)
        await asyncio.gather(*(stage.publish(EVENT, {"key": str(number)}) for number in range(events)))

        async def waiting() -> int:
            async with await aio_pika.connect(amqp_url) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue(stage.topology.events_inbox, passive=True)
                return queue.declaration_result.message_count or 0

        async def enough() -> bool | None:
            return True if len(await coordinator.runs()) >= limit else None

        await eventually(enough, 20, what="the first runs")
        active = len(await coordinator.runs())
        assert limit <= active <= 2 * limit
        assert await waiting() >= events - 2 * limit
        gate.touch()
        most = 0

        async def all_ended() -> bool | None:
            nonlocal most
            runs = await coordinator.runs()
            most = max(most, sum(run["status"] == "running" for run in runs))
            return True if sum(run["status"] == "succeeded" for run in runs) == events else None

        await eventually(all_ended, 60, what="the end of all runs", every=0.02)
        assert most <= 2 * limit


async def test_lifecycle_events_on_the_bus(amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """CloudEvents under keys of status and workflow; one that is told again after a crash has the same id."""
    document = f"""
workflow: told
triggers:
  - {{event: {EVENT}, key: event.data.key}}
steps:
  - id: a
    action: exec.run
    target: h1
    with: {{argv: ["true"]}}
    compensate: {{action: exec.run, with: {{argv: ["true"]}}}}
  - {{id: b, action: exec.run, target: h1, with: {{argv: ["${{{{ event.data.program }}}}"]}}}}
"""
    async with Stage(amqp_url, namespace, tmp_path) as stage, await aio_pika.connect(amqp_url) as connection:
        coordinator = await stage.coordinator()
        await stage.agent("h1")
        await coordinator.apply(document)
        await coordinator.stop()
        channel = await connection.channel()
        heard = await channel.declare_queue(exclusive=True)
        await heard.bind(stage.topology.lifecycle, "#")
        await stage.publish(EVENT, {"key": "good", "program": "true"})
        for point in ("coordinator.after_publish:1", "coordinator.after_confirm:1"):
            coordinator.spawn(failpoint=point)
            await coordinator.died()
        await coordinator.start()
        good = await coordinator.ended(key="good")
        await stage.publish(EVENT, {"key": "bad", "program": "false"})
        bad = await coordinator.ended(key="bad")
        told: dict[str, list[str]] = {good["id"]: [], bad["id"]: []}
        seen: dict[str, bytes] = {}

        async def last() -> bool | None:
            while (message := await heard.get(no_ack=True, fail=False)) is not None:
                event = read_event(message.body, message.content_type, message.headers)
                assert seen.setdefault(event.id, message.body) == message.body, "told twice, told alike"
                assert message.routing_key == f"{event.type.removeprefix('baton.')}.told"
                assert event.source == f"/baton/{namespace}"
                assert event.subject is not None
                if event.type not in told[event.subject] or event.type == "baton.step.succeeded":
                    told[event.subject].append(event.type)
            return True if "baton.run.compensated" in told[bad["id"]] else None

        await eventually(last, 30, what="the last event")
    starts = [types[0] for types in told.values()]
    assert starts == ["baton.run.started"] * 2
    assert told[good["id"]][-1] == "baton.run.succeeded"
    assert [kind for kind in told[bad["id"]] if kind.startswith("baton.run.")] == [
        "baton.run.started",
        "baton.run.compensated",
    ]
    steps = [kind for kind in told[bad["id"]] if kind.startswith("baton.step.")]
    assert steps == ["baton.step.succeeded", "baton.step.failed", "baton.step.compensated"]
