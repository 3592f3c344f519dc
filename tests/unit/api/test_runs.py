"""`/api/runs`: list, start, show, cancel, resolve."""

from typing import Any

import pytest

from schemas.messages import ErrorInfo, ResultStatus
from tests.support.office import Office

RUN = {
    "id", "workflow", "version", "key", "status", "reason", "trace_id", "started_at", "ended_at", "input",
    "output", "steps", "parent", "parent_step", "retry_of", "started_with", "group", "priority", "paused",
    "pivoted", "held", "deadline",
}  # fmt: skip
STEP = {"status", "attempts", "started_at", "ended_at", "output", "error", "counts", "hosts"}


async def succeed(desk: Office, first: int = 1) -> None:
    """Let the agent do both steps; the first of the two commands has this number."""
    for number in (first, first + 1):
        await desk.answer(await desk.command(number), ResultStatus.SUCCEEDED, output={"n": number})


async def test_a_run_is_shown_as_the_contract_says(desk: Office) -> None:
    """A run that succeeded has exactly the documented fields, its outputs, hosts and times."""
    run_id = await desk.start(key="k")
    await succeed(desk)
    run = await desk.until_status(run_id, "succeeded")
    assert set(run) == RUN
    assert all(set(step) == STEP for step in run["steps"].values())
    assert run["key"] == "k"
    assert run["input"] == {"name": "you"}
    assert run["output"] == {"said": "you"}
    assert list(run["steps"]) == ["first", "second"]
    [host] = run["steps"]["second"]["hosts"]
    assert (host["name"], host["status"], host["attempts"]) == ("web-1", "succeeded", 1)
    assert run["steps"]["second"]["output"] == {"n": 2}
    assert run["started_at"] <= run["steps"]["first"]["started_at"] <= run["ended_at"]
    assert len(run["trace_id"]) == 32


async def test_the_history_has_every_fact_in_order(desk: Office) -> None:
    """Facts are numbered from 1 without gaps, page by page, each with its kind and time."""
    run_id = await desk.start()
    await succeed(desk)
    await desk.until_status(run_id, "succeeded")
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await desk.http.get(f"/api/runs/{run_id}/history", params=query)).json()
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
    assert items[0]["fact"] == "run_started"
    assert items[-1]["fact"] == "run_ended"
    assert all(item["at"].endswith("Z") for item in items)


async def test_a_taken_key_is_409_with_the_live_run(desk: Office) -> None:
    """Of one key only one run is live; the refusal names it, and once it has ended the key is free."""
    run_id = await desk.start(key="k")
    answer = await desk.http.post("/api/runs", json={"workflow": "hello", "input": {"name": "x"}, "key": "k"})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "key_taken"
    assert answer.json()["error"]["details"] == {"id": run_id}
    await succeed(desk)
    await desk.until_status(run_id, "succeeded")
    assert await desk.start(key="k") != run_id


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"workflow": "nope"}, 404, "nope"),
        ({"workflow": "hello", "input": {"name": 1}}, 400, "input.name"),
        ({"workflow": "hello"}, 400, "name"),
        ({"workflow": "hello", "inputs": {}}, 400, "inputs"),
        ({"workflow": ""}, 400, "workflow"),
        ({}, 400, "workflow"),
        ([], 400, "object"),
        ({"workflow": "hello", "input": {"name": "x"}, "key": "k" * 513}, 400, "key"),
    ],
)
async def test_a_start_that_cannot_be_is_refused(desk: Office, body: Any, status: int, words: str) -> None:
    """The error says which part of the request is wrong; no run begins."""
    answer = await desk.http.post("/api/runs", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]
    assert (await desk.http.get("/api/runs")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"workflow": "hello", "input": ' + b"[" * 100 + b"]" * 100 + b"}", "too_deep"),
        (b'{"workflow": "hello", "input": ' + b"[" * 100_000, "too_deep"),
        (b'{"workflow": "a", "workflow": "b"}', "malformed"),
        (b'{"workflow": "hello", "input": {"name": 123456789012345678901234567890}}', "malformed"),
        (b"{", "malformed"),
        (b"\xff", "malformed"),
        (b"NaN", "malformed"),
    ],
)
async def test_hostile_json_is_refused(desk: Office, body: bytes, code: str) -> None:
    """Depth, repeated names, huge numbers and garbage are 400 with the codec's own code."""
    answer = await desk.http.post("/api/runs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == code


async def test_lists_filter_and_page(desk: Office) -> None:
    """Filters narrow, several statuses are alternatives, and `next` leads through all without repetition."""
    ids = [await desk.start(key=f"k{number}") for number in range(5)]
    await desk.http.post(f"/api/runs/{ids[0]}/cancel")

    async def listed(**query: Any) -> list[str]:
        page = (await desk.http.get("/api/runs", params=query)).json()
        return [item["id"] for item in page["items"]]

    assert await listed(key="k3") == [ids[3]]
    assert await listed(workflow="nope") == []
    assert await listed(status=["running", "compensating"]) == ids[::-1]
    assert await listed(status="succeeded") == []
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await desk.http.get("/api/runs", params=query)).json()
        seen += [item["id"] for item in page["items"]]
        assert "input" not in page["items"][0]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=-1", "status=nope"]
)
async def test_a_bad_query_is_400(desk: Office, query: str) -> None:
    """A limit, cursor or status that cannot be is refused and named."""
    answer = await desk.http.get(f"/api/runs?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[2] in answer.text or query.partition("=")[0] in answer.text


async def test_an_unknown_run_is_404_everywhere(desk: Office) -> None:
    """Show, history, cancel and resolve name the run that is not there."""
    decision = {"step": "first", "decision": "skip", "why": "x"}
    answers = [
        await desk.http.get("/api/runs/nope"),
        await desk.http.get("/api/runs/nope/history"),
        await desk.http.post("/api/runs/nope/cancel"),
        await desk.http.post("/api/runs/nope/resolve", json=decision),
    ]
    for answer in answers:
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
        assert "nope" in answer.json()["error"]["message"]


async def test_cancel_undoes_and_says_who_and_why(desk: Office) -> None:
    """Cancelling undoes what was done, ends `cancelled`, keeps the reason, and cannot be done twice."""
    run_id = await desk.start()
    await desk.answer(await desk.command(1), ResultStatus.SUCCEEDED)
    second = await desk.command(2)
    answer = await desk.http.post(f"/api/runs/{run_id}/cancel", json={"reason": "not today", "who": "eva"})
    assert answer.status_code == 200
    assert answer.json()["status"] == "compensating"
    await desk.answer(second, ResultStatus.CANCELLED)
    undo = next(one for one in [await desk.command(n) for n in (3, 4)] if one.kind == "compensate")
    await desk.answer(undo, ResultStatus.SUCCEEDED)
    run = await desk.until_status(run_id, "cancelled")
    assert "not today" in run["reason"]
    assert "eva" in (await desk.http.get(f"/api/runs/{run_id}/history")).text
    again = await desk.http.post(f"/api/runs/{run_id}/cancel")
    assert again.status_code == 409
    assert "ended" in again.json()["error"]["message"]


async def test_a_person_resolves_a_failed_undo(desk: Office) -> None:
    """An undo that failed waits for a person; `done` lets the run end, and a second decision is refused."""
    run_id = await desk.start()
    await desk.answer(await desk.command(1), ResultStatus.SUCCEEDED)
    broken = ErrorInfo(code="broken", message="it broke", retryable=False)
    await desk.answer(await desk.command(2), ResultStatus.FAILED, error=broken)
    await desk.answer(await desk.command(3), ResultStatus.FAILED, error=broken)
    run = await desk.until_status(run_id, "attention")
    assert run["steps"]["first"]["status"] == "compensation_failed"
    assert run["steps"]["first"]["error"]["code"] == "broken"
    decision = {"step": "first", "decision": "done", "why": "did it by hand", "who": "eva"}
    answer = await desk.http.post(f"/api/runs/{run_id}/resolve", json=decision)
    assert answer.status_code == 200
    assert answer.json()["status"] == "compensated"
    again = await desk.http.post(f"/api/runs/{run_id}/resolve", json=decision)
    assert again.status_code == 409


@pytest.mark.parametrize(
    "body",
    [{"step": "first", "decision": "nope", "why": "x"}, {"step": "first", "decision": "skip"}, {"step": 1}],
)
async def test_a_bad_decision_is_400(desk: Office, body: Any) -> None:
    """A decision without a reason, or one that does not exist, is refused before anything happens."""
    run_id = await desk.start()
    assert (await desk.http.post(f"/api/runs/{run_id}/resolve", json=body)).status_code == 400


async def test_a_traceparent_header_becomes_the_parent(desk: Office) -> None:
    """A run started under a trace is part of it."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    body = {"workflow": "hello", "input": {"name": "x"}}
    answer = await desk.http.post("/api/runs", json=body, headers=headers)
    assert (await desk.run(answer.json()["id"]))["trace_id"] == trace
