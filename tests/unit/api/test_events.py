"""`POST /api/events` and `/api/inbox`."""

from typing import Any

import pytest

from orchestrator.store.port import INBOX_OUTCOMES
from tests.support.office import Office

STRUCTURED = "application/cloudevents+json"


def event(id: str = "1", **changes: Any) -> dict[str, Any]:  # noqa: A002  the attribute's own name
    """An event that starts a run of `hello`."""
    base = {"specversion": "1.0", "id": id, "source": "/t", "type": "com.example.hello"}
    return {**base, "data": {"wanted": True, "key": f"key-{id}", "name": "you"}, **changes}


async def post(desk: Office, body: Any, **headers: str) -> Any:
    """Send a structured event."""
    return await desk.http.post("/api/events", json=body, headers={"content-type": STRUCTURED, **headers})


async def test_an_event_starts_a_run(desk: Office) -> None:
    """202 with the run; its input is what the trigger made, and the event sent again gets the same answer."""
    answer = await post(desk, event())
    assert answer.status_code == 202
    assert answer.json()["outcome"] == "started"
    [run_id] = answer.json()["runs"]
    assert (await desk.run(run_id))["input"] == {"name": "you"}
    assert (await post(desk, event())).json() == answer.json()


async def test_binary_mode_starts_a_run(desk: Office) -> None:
    """Attributes as `ce-` headers and the data as the body are an event too."""
    attributes = {"ce-specversion": "1.0", "ce-id": "b", "ce-source": "/t", "ce-type": "com.example.hello"}
    answer = await desk.http.post("/api/events", json=event()["data"], headers=attributes)
    assert answer.json()["outcome"] == "started"


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({"type": "com.example.other"}, "no_trigger", ""),
        ({"data": {"wanted": False}}, "no_trigger", ""),
        ({"data": {"wanted": True, "key": "k", "name": 5}}, "rejected", "input.name"),
        ({"data": {"wanted": True, "name": "x"}}, "rejected", "key"),
        ({"data": {}}, "rejected", "wanted"),
    ],
)
async def test_what_starts_nothing_says_why(desk: Office, changes: Any, outcome: str, words: str) -> None:
    """No trigger, a false or failing condition, a wrong input: 202 with outcome and reason, no run."""
    answer = (await post(desk, event(**changes))).json()
    assert answer["outcome"] == outcome
    assert words in answer["reason"]
    assert answer["runs"] == []
    [record] = (await desk.http.get("/api/inbox", params={"outcome": outcome})).json()["items"]
    assert (record["source"], record["id"], record["reason"]) == ("/t", "1", answer["reason"])


async def test_a_live_key_is_a_duplicate(desk: Office) -> None:
    """A second event with the key of a live run starts nothing and names that run."""
    [run_id] = (await post(desk, event("1"))).json()["runs"]
    answer = (await post(desk, event("2", data=event("1")["data"]))).json()
    assert answer["outcome"] == "duplicate"
    assert answer["runs"] == [run_id]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"[]", "application/cloudevents-batch+json", 400, "batch_unsupported"),
        (b"[{}]", STRUCTURED, 400, "batch_unsupported"),
        (b"{}", STRUCTURED, 400, "not_cloudevent"),
        (b"", STRUCTURED, 400, "malformed"),
        (b"{", STRUCTURED, 400, "malformed"),
        (b'{"a": 1}', "application/json", 400, "not_cloudevent"),
        (b"a=1", "application/x-www-form-urlencoded", 400, "not_cloudevent"),
        (b'{"specversion": "0.3"}', STRUCTURED, 400, "bad_specversion"),
        (b'{"specversion": "1.0", "id": "1", "source": "/t"}', STRUCTURED, 400, "missing_attribute"),
        (b'{"data": ' + b"[" * 70 + b"]" * 70 + b"}", STRUCTURED, 400, "too_deep"),
        (b'"' + b"x" * 65536 + b'"', STRUCTURED, 413, "too_large"),
    ],
)
async def test_what_is_no_event_is_refused(
    desk: Office, body: bytes, content_type: str, status: int, code: str
) -> None:
    """Each way of being wrong has its code; nothing reaches the inbox."""
    answer = await desk.http.post("/api/events", content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert (await desk.http.get("/api/inbox")).json()["items"] == []


@pytest.mark.parametrize("outcome", INBOX_OUTCOMES)
async def test_the_inbox_is_listed_by_every_outcome(desk: Office, outcome: str) -> None:
    """What can become of an event can be asked for."""
    answer = await desk.http.get("/api/inbox", params={"outcome": outcome})
    assert (answer.status_code, answer.json()["items"]) == (200, [])
