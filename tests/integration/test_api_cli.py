"""The command line as real processes, on a coordinator, an agent and a broker that all these tests share."""

import asyncio
import secrets
import shlex
import sys
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
import pytest_asyncio

from tests.support.command import GREET, Baton
from tests.support.processes import Stage
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def baton(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Baton]:
    """The command, where a coordinator and an agent run."""
    namespace = f"test-{secrets.token_hex(5)}"
    async with Stage(amqp_url, namespace, tmp_path_factory.mktemp("cli")) as stage:
        yield await Baton.on(stage)


async def test_start_and_wait(baton: Baton) -> None:
    """`start --wait` follows a run to its end: 0 when it succeeded, 1 when not, undos included."""
    good = await baton("start", "greet", "--input", '{"name": "eva"}', "--wait")
    assert good.code == 0, good.err
    assert "say  web-1  succeeded" in good.out
    bad = await baton("start", "greet", "--input", '{"name": "bad"}', "--wait")
    assert bad.code == 1
    assert "undo note  web-1  compensated" in bad.out
    assert not (baton.stage.directory / "bad.txt").exists()
    assert (baton.stage.directory / "eva.txt").exists()


async def test_json_is_what_the_api_gives(baton: Baton) -> None:
    """With `--json` each command prints the API's own answer."""
    run = (await baton("start", "greet", "--input", '{"name": "eva"}', "--wait", "--json")).json
    assert run["output"] == {"said": "hello eva\n"}
    assert (await baton("runs", "show", run["id"], "--json")).json == await baton.coordinator.run(run["id"])
    for command, path in (
        (("runs", "list"), "/api/runs"),
        (("agents", "list"), "/api/agents"),
        (("inbox", "list"), "/api/inbox"),
        (("dead", "list"), "/api/dead"),
        (("workflows", "list"), "/api/workflows"),
        (("workflows", "show", "greet"), "/api/workflows/greet"),
        (("runs", "history", run["id"]), f"/api/runs/{run['id']}/history"),
    ):
        assert (await baton(*command, "--json")).json == await baton.coordinator.get(path)


async def test_people_read_it_too(baton: Baton) -> None:
    """Without `--json` there are columns that name what there is."""
    run_id = (await baton("start", "greet", "--input", '{"name": "eva"}')).out.strip()
    assert (await baton("runs", "watch", run_id)).code == 0
    shown = (await baton("runs", "show", run_id)).out
    assert all(word in shown for word in ("STEP", "HOST", "STATUS", "DURATION", "ATTEMPTS", "hello eva"))
    assert run_id in (await baton("runs", "list", "--status", "succeeded", "--workflow", "greet")).out
    assert "no runs" in (await baton("runs", "list", "--key", "nope")).out
    assert "exec.run" in (await baton("agents", "list")).out
    assert "attempt_succeeded" in (await baton("runs", "history", run_id)).out
    assert "greet" in (await baton("workflows", "list")).out
    assert '"workflow": "greet"' in (await baton("workflows", "show", "greet")).out


async def test_events_by_hand(baton: Baton) -> None:
    """`emit` sends an event: its run is named; a rejected one is 1 with the reason, as in the inbox."""
    started = await baton(
        "emit", "com.example.greet", "--data", '{"name": "eva"}', "--id", "e1", "--source", "/me"
    )
    assert started.code == 0
    run = await baton.coordinator.ended(key="eva")
    assert run["id"] in started.out
    again = await baton(
        "emit", "com.example.greet", "--data", '{"name": "eva"}', "--id", "e1", "--source", "/me", "--json"
    )
    assert again.json == {"outcome": "started", "reason": "", "runs": [run["id"]], "more_runs": 0}
    nothing = await baton("emit", "com.example.other")
    assert nothing.code == 0
    assert "no workflow" in nothing.out
    rejected = await baton("emit", "com.example.greet", "--data", '{"name": 7}')
    assert rejected.code == 1
    assert "input.name" in rejected.out
    inbox = (await baton("inbox", "list", "--outcome", "rejected")).out
    assert "input.name" in inbox


async def test_apply_is_all_or_nothing(baton: Baton) -> None:
    """One bad file of several stores none; each mistake is a line with its place."""
    directory = baton.stage.directory
    (directory / "new.yaml").write_text(GREET.replace("workflow: greet", "workflow: new"))
    (directory / "bad.yaml").write_text(
        "workflow: bad\nsteps:\n  - id: a\n    action: x.y\n    target: t\n    timeout: soon\n"
    )
    done = await baton("apply", "new.yaml", "bad.yaml")
    assert done.code == 1
    assert "bad.yaml:6:" in done.out
    assert "nothing was stored" in done.out
    assert (await baton("apply", "new.yaml", "bad.yaml", "--json")).json["error"]["details"][0]["line"] == 6
    assert [item["workflow"] for item in (await baton.coordinator.get("/api/workflows"))["items"]] == [
        "greet"
    ]
    for one, other in (("a", "b"), ("b", "a")):
        (directory / f"{one}.yaml").write_text(f"workflow: {one}\nsteps: [{{id: s, workflow: {other}}}]\n")
    together = await baton("apply", "a.yaml", "b.yaml")
    assert (together.code, "in a circle: a -> b -> a" in together.out) == (1, True)
    assert len((await baton.coordinator.get("/api/workflows"))["items"]) == 1
    assert (await baton("apply", "new.yaml", "greet.yaml")).out.splitlines()[1].startswith("greet: unchanged")


async def test_what_is_not_there(baton: Baton) -> None:
    """A run that is unknown is 1; a coordinator that is not there is 3."""
    unknown = await baton("runs", "show", "nope")
    assert (unknown.code, "there is no run nope" in unknown.err) == (1, True)
    gone = await baton("runs", "list", "--url", "http://127.0.0.1:1")
    assert (gone.code, "cannot reach" in gone.err) == (3, True)


async def test_dead_letters(baton: Baton) -> None:
    """A message that is no event is listed with its reason; a replayed one dies again."""
    async with await aio_pika.connect(baton.stage.amqp_url) as connection:
        channel = await connection.channel()
        events = await channel.get_exchange(baton.stage.topology.events)
        await events.publish(aio_pika.Message(b"garbage", headers={"x-a": 1}), "com.example.greet")
        await events.publish(aio_pika.Message(b"[" * 70_000), "com.example.greet")

    async def listed(count: int) -> list[dict[str, Any]]:
        async def look() -> list[dict[str, Any]] | None:
            items: list[dict[str, Any]] = (await baton("dead", "list", "--json")).json["items"]
            return items if len(items) == count else None

        return await eventually(look, 30, what=f"{count} dead letters")

    garbage, deep = sorted(await listed(2), key=lambda letter: int(letter["size"]))
    assert "malformed" in garbage["reason"]
    assert "too_large" in deep["reason"]
    assert garbage["preview"] is None
    assert garbage["routing_key"] == "com.example.greet"
    assert "garbage" in (await baton("dead", "show", garbage["id"])).out
    assert garbage["id"] in (await baton("dead", "list")).out
    replayed = await baton("dead", "replay", garbage["id"])
    assert (replayed.code, replayed.out.strip()) == (0, "1 sent again, 0 not")
    assert {letter["size"] for letter in await listed(2)} == {7, 70_000}
    unknown = await baton("dead", "replay", "nope")
    assert (unknown.code, "there is no such letter" in unknown.out) == (1, True)
    assert (await baton("dead", "replay", "--all", "--json")).json["failed"] == []


async def test_an_expired_command_is_a_dead_letter(baton: Baton) -> None:
    """What the broker dead-letters has the broker's reason and origin."""
    async with await aio_pika.connect(baton.stage.amqp_url) as connection:
        channel = await connection.channel()
        name = f"{baton.stage.topology.namespace}.short"
        arguments = baton.stage.topology.work_arguments()
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
        await channel.default_exchange.publish(aio_pika.Message(b"late", expiration=0.01), name)

        async def look() -> dict[str, Any] | None:
            items = (await baton("dead", "list", "--json")).json["items"]
            return next((item for item in items if item["queue"] == name), None)

        letter = await eventually(look, 30, what="the dead letter")
        await queue.delete(if_unused=False, if_empty=False)
    assert (letter["reason"], letter["queue"], letter["exchange"]) == ("expired", name, "")
    returned = await baton("dead", "replay", letter["id"])
    assert returned.code == 1
    assert "no queue takes" in returned.out
    assert letter in (await baton("dead", "list", "--json")).json["items"]


async def test_output_into_a_closed_pipe_is_quiet(baton: Baton) -> None:
    """`baton … | head` ends without a word."""
    process = await asyncio.create_subprocess_shell(
        f"{shlex.quote(sys.executable)} -m orchestrator.cli workflows show greet | true",
        cwd=baton.stage.directory,
        env=baton.stage.environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert err == b""
