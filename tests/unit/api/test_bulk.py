"""`/api/runs/bulk`: one action on many runs, or a count of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.office import HELLO, Office


async def bulk(desk: Office, action: str = "cancel", status: int = 200, **body: Any) -> Any:
    """Ask for something to be done to many runs; the answer."""
    answer = await desk.http.post("/api/runs/bulk", json={"action": action, **body})
    assert answer.status_code == status, answer.text
    return answer.json()


async def statuses(desk: Office) -> dict[str, str]:
    """Every run's status."""
    return {run["id"]: run["status"] for run in (await desk.http.get("/api/runs")).json()["items"]}


async def test_a_dry_run_counts_and_changes_nothing(desk: Office) -> None:
    """By workflow and status, without the statuses that the action is not for."""
    await desk.apply(HELLO.replace("workflow: hello", "workflow: other"))
    ids = [await desk.start() for _ in range(3)]
    await desk.http.post("/api/runs", json={"workflow": "other", "input": {"name": "x"}})
    await desk.http.post(f"/api/runs/{ids[0]}/pause")
    await desk.http.post(f"/api/runs/{ids[1]}/cancel")
    before = await statuses(desk)
    asked = {"status": ["running", "paused", "compensating"]}
    answer = await bulk(desk, filter=asked, dry_run=True)
    assert (answer["matched"], answer["done"], answer["refused"]) == (4, 0, [])
    counted = {(one["workflow"], one["status"]): one["count"] for one in answer["counts"]}
    assert counted == {
        ("hello", "running"): 1,
        ("hello", "paused"): 1,
        ("hello", "compensating"): 1,
        ("other", "running"): 1,
    }
    assert (await bulk(desk, filter={"workflow": "hello"}, dry_run=True))["matched"] == 2
    assert await statuses(desk) == before


async def test_done_to_all_that_fit_page_by_page(desk: Office) -> None:
    """Every run that fits has it done once, with who and why; others are left alone."""
    ids = [await desk.start(key=f"k{number}") for number in range(5)]
    spared = await desk.start(key="spared")
    done, cursor = 0, None
    arguments = {"who": "eva", "why": "stop it"}
    until = (await desk.run(spared))["started_at"]
    while True:
        answer = await bulk(
            desk, "pause", filter={"workflow": "hello", "started_before": until}, limit=2, cursor=cursor,
            arguments=arguments,
        )  # fmt: skip
        assert answer["refused"] == []
        done += answer["done"]
        cursor = answer["next"]
        if cursor is None:
            break
    assert done == 5
    assert await statuses(desk) == dict.fromkeys(ids, "paused") | {spared: "running"}
    history = (await desk.http.get(f"/api/runs/{ids[0]}/history")).json()["items"]
    assert (history[-1]["fact"], history[-1]["who"], history[-1]["why"]) == ("run_paused", "eva", "stop it")


async def test_what_cannot_be_done_is_named_and_the_rest_goes_on(desk: Office) -> None:
    """A run that refuses is listed with its error; the others have it done."""
    first, second = await desk.start(), await desk.start()
    await desk.http.post(f"/api/runs/{first}/pause")
    answer = await bulk(desk, "pause", filter={"status": ["running", "paused"]})
    assert (answer["matched"], answer["done"]) == (2, 1)
    assert [(one["id"], one["error"]["code"]) for one in answer["refused"]] == [(first, "cannot_pause")]
    assert await statuses(desk) == {first: "paused", second: "paused"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"filter": {}}, "every run"),
        ({"filter": {}, "dry_run": True}, "every run"),
        ({}, "filter"),
        ({"filter": {"workflow": "hello", "x": 1}}, "x"),
        ({"filter": {"status": ["nope"]}}, "nope"),
        ({"filter": {"workflow": "hello"}, "limit": 1001}, "limit"),
        ({"filter": {"workflow": "hello"}, "cursor": "x"}, "cursor"),
        ({"filter": {"workflow": "hello"}, "arguments": {"nope": 1}}, "nope"),
        ({"filter": {"workflow": "hello"}, "arguments": {"who": ""}}, "who"),
        ({"filter": {"started_before": "yesterday"}}, "started_before"),
        ({"filter": {"workflow": "hello"}, "action": "delete"}, "delete"),
        ({"filter": {"workflow": "hello"}, "action": "resolve"}, "step"),
    ],
)
async def test_a_request_that_makes_no_sense_does_nothing(desk: Office, body: Any, words: str) -> None:
    """It is 400, says what is wrong, and no run is touched."""
    run_id = await desk.start()
    answer = await desk.http.post("/api/runs/bulk", json={"action": "cancel", **body})
    assert answer.status_code == 400, answer.text
    assert words in answer.text
    assert await statuses(desk) == {run_id: "running"}


async def test_runs_are_listed_by_when_they_started(desk: Office) -> None:
    """The list takes the same times, and refuses what is none."""
    run_id = await desk.start()
    now = datetime.now(UTC).isoformat()
    assert (await desk.http.get("/api/runs", params={"started_after": now})).json()["items"] == []
    listed = await desk.http.get("/api/runs", params={"started_before": now})
    assert [run["id"] for run in listed.json()["items"]] == [run_id]
    assert (await desk.http.get("/api/runs?started_before=x")).status_code == 400


async def test_a_version_is_named_by_the_beginning_of_its_hash(desk: Office) -> None:
    """With its workflow, in the list and in bulk, or as `current`; without a workflow only as a whole."""
    old = await desk.start()
    before = (await desk.run(old))["version"]
    await desk.apply(HELLO.replace("do.second", "do.other"))
    new = await desk.start()
    for version, run_id in ((before[:12], old), (before, old), ("current", new)):
        which = {"workflow": "hello", "version": version}
        listed = (await desk.http.get("/api/runs", params=which)).json()["items"]
        assert [run["id"] for run in listed] == [run_id]
        assert (await bulk(desk, "pause", filter=which, dry_run=True))["matched"] == 1
    assert len((await desk.http.get("/api/runs", params={"version": before})).json()["items"]) == 1
    refused = await desk.http.get("/api/runs", params={"version": before[:12]})
    assert (refused.status_code, "workflow" in refused.json()["error"]["hint"]) == (400, True)
    await bulk(desk, "pause", status=404, filter={"workflow": "hello", "version": "0000"})
