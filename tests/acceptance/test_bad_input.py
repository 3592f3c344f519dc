"""What bad input gets: it is refused with a reason that people can see, and nothing else suffers."""

import asyncio
import json
import resource
import secrets
import sqlite3
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio
from pamqp import encode

from schemas.names import REASON_HEADER
from tests.support.command import Baton
from tests.support.processes import CoordinatorProcess, Stage
from tests.support.waiting import eventually, until

EVENT = "com.example.bad"
ENCODE = encode.encode_table_value
STRUCTURED = "application/cloudevents+json"

DOCUMENT = f"""
workflow: careful
triggers:
  - event: {EVENT}
    if: event.data.wanted
    key: event.data.key
    input: {{size: "${{{{ event.data.size }}}}"}}
input:
  type: object
  properties: {{size: {{type: integer}}}}
steps:
  - {{id: a, action: exec.run, target: h1, with: {{argv: ["true"]}}}}
"""


def nowhere(name: str, target: str) -> str:
    """A workflow whose one step is for somebody who is not there."""
    return f"""
workflow: {name}
steps:
  - {{id: a, action: exec.run, target: {target}, retry: {{attempts: 3}}, with: {{argv: ["true"]}}}}
"""


def event(**changes: Any) -> bytes:
    """A structured event, with changes."""
    members = {"specversion": "1.0", "id": secrets.token_hex(4), "source": "/t", "type": EVENT, "data": {}}
    return json.dumps(members | changes).encode()


NO_EVENTS: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", STRUCTURED, "malformed"),
    "not JSON": (b"{", STRUCTURED, "malformed"),
    "not text": (b"\xff\xfe\x00", STRUCTURED, "malformed"),
    "oversized": (event(data="x" * 65_536), STRUCTURED, "too_large"),
    "deep": (event(data=json.loads("[" * 100 + "]" * 100)), STRUCTURED, "too_deep"),
    "very deep": (b"[" * 60_000, STRUCTURED, "too_deep"),
    "no CloudEvent": (b'{"order": 1}', "application/json", "not_cloudevent"),
    "no content type": (b"hello", "", "malformed"),
    "a batch": (b"[" + event() + b"]", STRUCTURED, "batch_unsupported"),
    "a declared batch": (b"[" + event() + b"]", "application/cloudevents-batch+json", "batch_unsupported"),
    "another version": (event(specversion="0.3"), STRUCTURED, "bad_specversion"),
    "no id": (event(id=""), STRUCTURED, "missing_attribute"),
    "a bad attribute": (event(time="yesterday"), STRUCTURED, "bad_attribute"),
    "a huge number": (event(data=2**80), STRUCTURED, "malformed"),
    "twice": (b'{"a":1,"a":2,"specversion":"1.0"}', STRUCTURED, "malformed"),
}

ODD_HEADERS: dict[str, Any] = {
    "decimal": Decimal("1.5"),
    "time": datetime(2020, 1, 1, tzinfo=UTC),
    "nothing": None,
    "nested": {"a": [1, {"b": [True, 2.5]}]},
    "bytes": bytearray(b"\xff\x00"),
    "mangled": b"\xff\xfe",
    "number": 1e300,
    "long": "x" * 5_000,
    "x-baton-reason": "forged",
    "x-death": "no list",
    "traceparent": "nonsense",
    "ce-id": "no\nid",
}


class Place:
    """A stage where a coordinator knows `careful` and an agent `h1` works."""

    def __init__(self, stage: Stage, coordinator: CoordinatorProcess) -> None:
        self.stage = stage
        self.coordinator = coordinator
        self.topology = stage.topology
        self.baton = Baton(stage, coordinator)

    async def send(self, exchange: str, key: str, *messages: tuple[bytes, str, Mapping[str, Any]]) -> None:
        """Publish messages of (body, content type, headers) as they are."""
        async with await aio_pika.connect(self.stage.amqp_url) as connection:
            channel = await connection.channel()
            target = await channel.get_exchange(exchange)
            made = [
                aio_pika.Message(body, content_type=kind or None, headers=dict(headers))
                for body, kind, headers in messages
            ]
            await asyncio.gather(*(target.publish(message, key) for message in made))

    async def garbage(self, exchange: str, key: str, *bodies: bytes) -> None:
        """Publish bodies as structured events."""
        await self.send(exchange, key, *((body, STRUCTURED, {}) for body in bodies))

    async def dead(self, count: int) -> list[dict[str, Any]]:
        """The dead letters, once there are so many."""

        async def look() -> list[dict[str, Any]] | None:
            items: list[dict[str, Any]] = (await self.coordinator.get("/api/dead"))["items"]
            return items if len(items) >= count else None

        return await eventually(look, 30, what=f"{count} dead letters", every=0.1)

    async def take_dead(self) -> list[aio_pika.abc.AbstractIncomingMessage]:
        """What lies in the queue of dead letters, taken from it."""
        taken = []
        async with await aio_pika.connect(self.stage.amqp_url) as connection:
            queue = await (await connection.channel()).get_queue(self.topology.dead)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                taken.append(message)
        return taken

    async def inbox(self, **which: Any) -> dict[str, Any]:
        """The newest record in the inbox of which this is true, once there is one."""

        async def look() -> dict[str, Any] | None:
            items = (await self.coordinator.get("/api/inbox"))["items"]
            return next((item for item in items if item | which == item), None)

        return await eventually(look, 20, what=f"a record {which}")

    async def works(self) -> None:
        """A good event starts a run that ends well."""
        key = secrets.token_hex(4)
        await self.stage.publish(EVENT, {"wanted": True, "key": key, "size": 1})
        assert (await self.coordinator.ended(key=key))["status"] == "succeeded"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """One for all tests of this file: bad input must leave it in good order for the next."""
    directory = tmp_path_factory.mktemp("bad")
    async with Stage(amqp_url, f"test-{secrets.token_hex(5)}", directory) as stage:
        coordinator = await stage.coordinator()
        await stage.agent("h1")
        await coordinator.apply(DOCUMENT)
        yield Place(stage, coordinator)
        assert coordinator.running
        assert "Traceback" not in coordinator.text()
        assert " ERROR " not in coordinator.text()


async def test_what_is_no_event_is_a_dead_letter_with_a_reason(place: Place) -> None:
    """Listed by API and command line, whole in the queue, replayable; the consumer goes on."""
    await place.send(
        place.topology.events, EVENT, *((body, kind, {}) for body, kind, _ in NO_EVENTS.values())
    )
    letters = await place.dead(len(NO_EVENTS))
    assert {letter["queue"] for letter in letters} == {place.topology.events_inbox}
    assert {letter["routing_key"] for letter in letters} == {EVENT}
    assert (await place.baton("dead", "list", "--json")).json["items"] == letters
    assert (await place.baton("dead", "replay", letters[0]["id"])).code == 0
    await place.works()
    await place.dead(len(NO_EVENTS))
    found = {message.body: str(message.headers[REASON_HEADER]) for message in await place.take_dead()}
    for what, (body, _, reason) in NO_EVENTS.items():
        assert found[body].startswith(f"{reason}: "), (what, found[body])
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"{place.coordinator.url}/metrics")).text
    count = len(NO_EVENTS) + 1.0
    assert f'baton_dead_letters_total{{queue="{place.topology.events_inbox}"}} {count}' in metrics


async def test_garbage_for_results_and_presence_is_a_dead_letter(place: Place) -> None:
    """Neither can stop the other; what is well formed and means nothing is recorded."""
    result = {
        "command_id": "c", "run_id": "nobody", "step": "a", "host_index": 0, "attempt": 1, "epoch": 1,
        "agent": "h1", "instance_id": "i", "status": "succeeded",
    }  # fmt: skip
    bad = [b"", b"[]", b"\x00", b'{"agent": 1}', json.dumps(result | {"status": "splendid"}).encode()]
    bad += [json.dumps(result | {"attempt": -1}).encode(), b'"' + b"x" * 2**20 + b'"', b"[" * 5_000]
    await place.garbage(place.topology.results, "result.0.h1", *bad)
    await place.garbage(place.topology.results, "presence.h1", *bad)
    await place.garbage(place.topology.results, "result.0.h1", json.dumps(result).encode())
    letters = await place.dead(2 * len(bad))
    queues = [letter["queue"] for letter in letters]
    assert queues.count(place.topology.results_queue("0")) == len(bad)
    assert queues.count(place.topology.presence) == len(bad)
    record = await place.inbox(kind="result", id="c")
    assert (record["outcome"], record["reason"]) == ("rejected", "no such run")
    await place.works()
    await place.take_dead()


def encode_as_others_do(value: Any) -> bytes:
    """Like pamqp, and what other libraries send: numbers of 64 bits, text that is no UTF-8."""
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return b"S" + struct.pack(">I", len(value)) + value
    return ENCODE(value)


async def test_odd_headers_travel_with_a_dead_letter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers of every kind that AMQP has do not stop what refuses their message."""
    monkeypatch.setattr(encode, "encode_table_value", encode_as_others_do)
    await place.send(place.topology.events, EVENT, (b"garbage", STRUCTURED, ODD_HEADERS))
    [letter] = await place.dead(1)
    assert letter["reason"] != "forged"
    [message] = await place.take_dead()
    assert message.headers["nested"] == ODD_HEADERS["nested"]
    assert len(str(message.headers["long"])) == 5_000
    await place.works()


async def test_an_event_that_cannot_start_its_run_is_seen_in_the_inbox(place: Place) -> None:
    """Its `if`, its `key` or its `input` fails: no run, and the reason is there."""
    before = len(await place.coordinator.runs())
    for data, reason in (
        ({"key": "k", "size": 1}, "no field 'wanted'"),
        ({"wanted": True, "key": {}, "size": 1}, "not text"),
        ({"wanted": True, "key": "k"}, "no field 'size'"),
        ({"wanted": True, "key": "k", "size": "large"}, "input.size"),
        ("no object", "wanted"),
    ):
        event_id = await place.stage.publish(EVENT, data)
        record = await place.inbox(id=event_id)
        assert record["outcome"] == "rejected"
        assert reason in record["reason"]
        assert record["runs"] == []
    assert len(await place.coordinator.runs()) == before


async def test_rule_1_duplicates_of_an_event_start_one_run(place: Place) -> None:
    """However often it is published."""
    data = {"wanted": True, "key": "once", "size": 1}
    await asyncio.gather(*(place.stage.publish(EVENT, data, event_id="same") for _ in range(5)))
    run = await place.coordinator.ended(key="once")
    await place.works()
    assert (await place.inbox(id="same"))["runs"] == [run["id"]]


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("to-nobody", "nobody", "no agent named 'nobody'"),
        ("to-no-pool", "{pool: empty}", "no pool named 'empty'"),
    ],
)
async def test_an_unknown_agent_or_pool_fails_the_step_at_once(
    name: str, target: str, said: str, place: Place
) -> None:
    """The broker returns the command; the step fails with `agent_unknown` and says the name."""
    await place.coordinator.apply(nowhere(name, target))
    await place.coordinator.post("/api/runs", {"workflow": name})
    run = await place.coordinator.ended(workflow=name)
    assert run["status"] == "failed"
    assert said in run["reason"]
    step = run["steps"]["a"]
    assert (step["status"], step["attempts"], step["error"]["code"]) == ("failed", 1, "agent_unknown")


async def test_a_bad_document_is_refused_with_all_that_is_wrong(place: Place) -> None:
    """Every error with its line, by API and command line, and nothing is stored."""
    bad = DOCUMENT.replace("careful", "careless").replace("action: exec.run", "acton: exec.run")
    bad = bad.replace("event.data.wanted", "event.data.wanted ==").replace("type: object", "type: objekt")
    file = place.stage.directory / "bad.yaml"
    file.write_text(bad)
    answer = await place.baton("apply", str(file))
    assert answer.code == 1
    for said in ("bad.yaml:5:", "bad.yaml:9:", "bad.yaml:12:", "acton", "objekt", "nothing was stored"):
        assert said in answer.out + answer.err
    async with httpx.AsyncClient() as client:
        refusal = await client.post(f"{place.coordinator.url}/api/workflows", content=bad)
    assert refusal.status_code == 422
    assert len(refusal.json()["error"]["details"]) >= 3
    names = [item["workflow"] for item in (await place.coordinator.get("/api/workflows"))["items"]]
    assert "careless" not in names


async def test_a_second_coordinator_and_a_newer_database_are_refused(place: Place) -> None:
    """One line that says who or what is in the way, exit code 1; the first goes on."""
    second = await place.baton("coordinator", "--listen", "127.0.0.1:0")
    assert second.code == 1
    assert f"process {place.coordinator.pid}" in second.err
    newer = place.stage.directory / "newer.db"
    with closing(sqlite3.connect(place.stage.environment["BATON_DB"])) as db:
        db.execute("VACUUM INTO ?", (str(newer),))
    with closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 99")
    other = await place.baton("coordinator", "--listen", "127.0.0.1:0", "--db", str(newer))
    assert other.code == 1
    assert "schema 99" in other.err
    await place.works()


@pytest.mark.timeout(180)
async def test_a_storm_of_garbage_does_not_keep_good_events_waiting(place: Place) -> None:
    """Two thousand messages that are nothing and two hundred events: all handled within a minute."""
    bodies = [body for what, (body, _, _) in NO_EVENTS.items() if what != "oversized"]
    await place.coordinator.apply(DOCUMENT.replace("careful", "stormy").replace(EVENT, "com.example.storm"))
    events = [
        event(type="com.example.storm", data={"wanted": True, "key": f"storm {number}", "size": 1})
        for number in range(200)
    ]
    mixed = [body for number in range(200) for body in (*(bodies * 2)[number % 7 :][:10], events[number])]
    assert len(mixed) == 2_200
    await place.garbage(place.topology.events, EVENT, *mixed)

    async def all_ended() -> bool | None:
        page = await place.coordinator.get("/api/runs", workflow="stormy", status="succeeded", limit=1_000)
        return True if len(page["items"]) == 200 else None

    await eventually(all_ended, 60, what="the end of two hundred runs", every=0.2)
    taken: list[Any] = []

    async def all_dead() -> bool | None:
        taken.extend(await place.take_dead())
        return True if len(taken) == 2_000 else None

    await eventually(all_dead, 60, what="two thousand dead letters", every=0.2)


async def test_a_step_whose_agent_is_away_is_tried_again(amqp_url: str, tmp_path: Path) -> None:
    """`agent_unavailable` when nobody takes the command in time; it works once the agent comes."""
    env = {"BATON_START_WITHIN": "1"}
    async with Stage(amqp_url, f"test-{secrets.token_hex(5)}", tmp_path, env) as stage:
        agent = await stage.agent("h1", pools=["some"])
        coordinator = await stage.coordinator()
        await agent.stop()
        for name, target in (("to-h1", "h1"), ("to-some", "{pool: some}")):
            document = nowhere(name, target).replace(
                "attempts: 3", "attempts: 100, delay: 100ms, max_delay: 1s"
            )
            await coordinator.apply(document)
            await coordinator.post("/api/runs", {"workflow": name})

        async def expired() -> bool | None:
            runs = [await coordinator.run(run["id"]) for run in await coordinator.runs()]
            errors = [run["steps"]["a"]["error"] for run in runs]
            return True if all(error and error["code"] == "agent_unavailable" for error in errors) else None

        await eventually(expired, 20, what="the commands' expiry")
        await agent.start()
        for name in ("to-h1", "to-some"):
            run = await coordinator.ended(workflow=name)
            assert run["status"] == "succeeded"
            assert run["steps"]["a"]["attempts"] > 1


async def test_a_disk_that_fails_stops_the_coordinator(amqp_url: str, tmp_path: Path) -> None:
    """One clear line and exit code 1; the event stays on the broker and is taken up by the next life."""
    async with Stage(amqp_url, f"test-{secrets.token_hex(5)}", tmp_path) as stage:
        coordinator = await stage.coordinator()
        await stage.agent("h1")
        await coordinator.apply(DOCUMENT)
        written = Path(f"{stage.environment['BATON_DB']}-wal").stat().st_size
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(coordinator.pid, resource.RLIMIT_FSIZE, (written + 1, unlimited))
        await stage.publish(EVENT, {"wanted": True, "key": "k", "size": 1})
        assert await coordinator.died() == 1
        assert "cannot use" in coordinator.text()
        assert "Traceback" not in coordinator.text()
        await coordinator.start()
        assert (await coordinator.ended(key="k"))["status"] == "succeeded"
        await until(lambda: coordinator.running)
