"""Dead letters over the API, with the bus in memory."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator import deadletters
from runtime.bus.port import Message
from schemas.events import new_event, write_event
from schemas.names import Topology
from tests.support.office import Office
from tests.support.waiting import eventually, until

TOPOLOGY = Topology()
CLOUDEVENT = "application/cloudevents+json"


async def garbage(desk: Office, *bodies: bytes, key: str = "com.example.x") -> Any:
    """Publish what is no event, and wait until it lies with the dead letters."""
    before = len((await desk.http.get("/api/dead")).json()["items"])
    for body in bodies:
        await desk.send(TOPOLOGY.events, key, body)
    return (await desk.dead(before + len(bodies)))["items"]


async def replay(desk: Office, **body: Any) -> Any:
    """Ask for a replay."""
    answer = await desk.http.post("/api/dead/replay", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_refused_message_is_listed_with_its_reason(desk: Office) -> None:
    """The list says why, where it was and how large it is, and shows the body only when asked."""
    [letter] = await garbage(desk, b"not an event")
    assert letter["queue"] == TOPOLOGY.events_inbox
    assert letter["exchange"] == TOPOLOGY.events
    assert letter["routing_key"] == "com.example.x"
    assert "malformed" in letter["reason"]
    assert letter["size"] == len(b"not an event")
    assert letter["preview"] is None
    shown = (await desk.http.get(f"/api/dead/{letter['id']}")).json()
    assert shown == {**letter, "preview": "not an event"}
    [with_preview] = (await desk.http.get("/api/dead", params={"preview": "true"})).json()["items"]
    assert with_preview == shown


async def test_looking_changes_nothing(desk: Office) -> None:
    """However often one looks, letters keep their ids and order, also those that are alike."""
    first = await garbage(desk, b"one", b"two", b"two", b"\xff" * 5000)
    again = [(await desk.http.get("/api/dead")).json()["items"] for _ in range(3)]
    assert all(items == first for items in again)
    assert len({letter["id"] for letter in first}) == 4


async def test_a_replayed_letter_is_handled_again(desk: Office) -> None:
    """What is good by now goes its way; what is not dies again, as a new letter, and only once."""
    event = new_event(
        id="1", source="/t", type="com.example.hello", at=0, data={"wanted": True, "key": "k", "name": "you"}
    )
    dead = Message(
        TOPOLOGY.dead,
        "com.example.hello",
        write_event(event),
        headers={
            "x-baton-reason": "was refused once",
            "x-baton-exchange": TOPOLOGY.events,
            "x-baton-routing-key": "com.example.hello",
            "x-baton-queue": TOPOLOGY.events_inbox,
        },
        content_type=CLOUDEVENT,
    )
    await desk.bus.publish([dead])
    [good] = (await desk.dead(1))["items"]
    [_, bad] = await garbage(desk, b"still no event")
    answer = await replay(desk, ids=[good["id"], bad["id"]])
    assert answer == {"replayed": [good["id"], bad["id"]], "failed": [], "more": False}

    async def started() -> Any:
        return (await desk.http.get("/api/runs")).json()["items"] or None

    [run] = await eventually(started, every=0.01)
    assert run["workflow"] == "hello"
    [letter] = (await desk.dead(1))["items"]
    assert letter["id"] != bad["id"]  # it died another time
    assert letter["routing_key"] == "com.example.x"


async def test_replaying_all_goes_through_each_once(desk: Office) -> None:
    """Letters that die again at once do not go round for ever."""
    letters = await garbage(desk, *(b"%d" % number for number in range(120)))
    answer = await replay(desk, all=True)
    assert answer["replayed"] == [letter["id"] for letter in letters]
    assert len((await desk.dead(120))["items"]) == 120


async def test_a_letter_that_no_queue_takes_stays(desk: Office) -> None:
    """A replay that is returned is an error that says where to, and the letter stays with the dead."""
    headers = {
        "x-baton-reason": "r",
        "x-baton-exchange": TOPOLOGY.commands,
        "x-baton-routing-key": "agent.gone",
    }
    await desk.bus.publish([Message(TOPOLOGY.dead, "agent.gone", b"{}", headers=headers)])
    [letter] = (await desk.dead(1))["items"]
    answer = await replay(desk, all=True)
    assert answer["replayed"] == []
    assert answer["failed"][0]["code"] == "returned"
    assert "agent.gone" in answer["failed"][0]["message"]
    assert (await desk.dead(1))["items"] == [letter]


async def test_what_was_sent_to_the_dead_has_nowhere_to_go(desk: Office) -> None:
    """A message that its publisher sent to the dead letters is listed and never replayed in a circle."""
    await desk.bus.publish([Message(TOPOLOGY.dead, "x", b"hm")])
    [letter] = (await desk.dead(1))["items"]
    assert letter["reason"] == "sent here by its publisher"
    answer = await replay(desk, ids=[letter["id"]])
    assert [failed["code"] for failed in answer["failed"]] == ["no_origin"]


async def test_the_brokers_own_dead_letters_have_its_reason(desk: Office) -> None:
    """What the broker dead-lettered is listed with the broker's own reason, origin and time."""
    death = {
        "count": 1,
        "reason": "expired",
        "queue": "baton.agent.web-1",
        "time": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "exchange": TOPOLOGY.commands,
        "routing-keys": ["agent.web-1"],
    }
    await desk.bus.publish([Message(TOPOLOGY.dead, "agent.web-1", b"{}", headers={"x-death": [death]})])
    [letter] = (await desk.dead(1))["items"]
    assert letter["reason"] == "expired"
    assert letter["at"] == "2026-01-31T12:00:00.000000Z"
    assert letter["queue"] == "baton.agent.web-1"
    assert (letter["exchange"], letter["routing_key"]) == (TOPOLOGY.commands, "agent.web-1")
    assert (await replay(desk, ids=[letter["id"]]))["replayed"] == [letter["id"]]


@pytest.mark.parametrize(
    "death", [None, [], ["x"], [{}], [{"routing-keys": []}], [{"time": "x", "reason": 1}], {"a": 1}]
)
async def test_odd_headers_do_not_break_the_list(desk: Office, death: Any) -> None:
    """Headers come from anywhere: whatever they hold, the letter is listed."""
    headers = {"x-death": death, "x-custom": {"a": [1]}}
    await desk.bus.publish([Message(TOPOLOGY.dead, "k", b"\x00\xff", headers=headers)])
    [letter] = (await desk.dead(1))["items"]
    assert (await desk.http.get(f"/api/dead/{letter['id']}")).status_code == 200


async def test_an_unknown_letter_is_said_so(desk: Office) -> None:
    """Show is 404; replay fails for that id alone."""
    assert (await desk.http.get("/api/dead/nope")).status_code == 404
    [letter] = await garbage(desk, b"x")
    answer = await replay(desk, ids=["nope", letter["id"]])
    assert answer["replayed"] == [letter["id"]]
    assert [(failed["id"], failed["code"]) for failed in answer["failed"]] == [("nope", "not_found")]


@pytest.mark.parametrize(
    "body", [{}, {"ids": [], "all": False}, {"ids": ["x"], "all": True}, {"ids": "x"}, []]
)
async def test_a_replay_says_which(desk: Office, body: Any) -> None:
    """Neither or both of ids and all is 400."""
    assert (await desk.http.post("/api/dead/replay", json=body)).status_code == 400


async def test_a_limit_on_how_many_are_looked_at_is_said(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit there are `more`, and those looked at can be replayed part by part."""
    monkeypatch.setattr(deadletters, "MAX_LOOK", 60)
    await garbage(desk, *(b"%d" % number for number in range(60)))
    assert not (await desk.http.get("/api/dead")).json()["more"]
    for _ in range(5):
        await desk.send(TOPOLOGY.events, "k", b"x")

    async def more() -> Any:
        found = (await desk.http.get("/api/dead")).json()
        return found if found["more"] else None

    found = await eventually(more, every=0.01)
    assert found["looked_at"] == len(found["items"]) == 60
    assert (await replay(desk, all=True))["more"]


async def test_without_a_broker_it_is_503(desk: Office) -> None:
    """Dead letters lie on the broker; without it the answer says so."""
    desk.broker.go_away()
    await until(lambda: not desk.bus.connected)
    assert (await desk.http.get("/api/dead")).status_code == 503
    desk.broker.come_back()
