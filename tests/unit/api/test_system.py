"""Health, metrics, agents, the OpenAPI document, and errors that no handler made."""

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from orchestrator.api.views import agent_view
from orchestrator.document import KnownAgent
from orchestrator.store.port import AgentRecord
from orchestrator.store.reader import SqliteReader
from schemas.codec import encode
from schemas.messages import ActionInfo, Presence
from tests.support.office import TOPOLOGY, Office
from tests.support.waiting import eventually


async def test_health(desk: Office) -> None:
    """Live says that the process answers; ready says 503 and why, as long as events are not taken in."""
    assert (await desk.http.get("/health/live")).json() == {"status": "live"}
    assert (await desk.http.get("/health/ready")).json() == {"status": "ready"}
    desk.problem.append("there is no connection to the broker")
    answer = await desk.http.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "not_ready"
    assert "broker" in answer.json()["error"]["message"]
    assert (await desk.http.get("/health/live")).status_code == 200


async def test_metrics_are_prometheus_text(desk: Office) -> None:
    """Figures are there in the format that Prometheus reads."""
    await desk.start()
    answer = await desk.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'baton_runs_total{status="started",workflow="hello"} 1.0' in answer.text


async def test_agents_are_listed(desk: Office) -> None:
    """An agent that announced itself is shown with its labels and both clocks."""
    await desk.announce()

    async def look() -> Any:
        return (await desk.http.get("/api/agents")).json()["items"] or None

    [agent] = await eventually(look, every=0.01)
    assert (agent["name"], agent["labels"], agent["stopping"]) == ("web-1", {"role": "web"}, False)
    assert agent["at"] <= agent["seen_at"]
    assert agent["live"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("pool=shop", True),
        ("pool=sho", False),
        ("label=role%3Dweb", True),
        ("label=role%3Ddb", False),
        ("label=role%3Dweb&label=zone%3Da", False),
        ("live=true", True),
        ("live=false", False),
    ],
)
async def test_agents_are_found_by_what_they_are(desk: Office, query: str, found: bool) -> None:  # noqa: FBT001
    """By a pool, by all of some labels, by whether they are live."""
    await desk.announce()

    async def there() -> Any:
        return (await desk.http.get("/api/agents")).json()["items"] or None

    await eventually(there, every=0.01)
    items = (await desk.http.get(f"/api/agents?{query}")).json()["items"]
    assert [item["name"] for item in items] == ["web-1"] * found


async def test_what_agents_announce_is_what_a_document_is_checked_against(desk: Office) -> None:
    """Actions come through announcement, database and API as `check_live` needs them."""
    switch = ActionInfo("app.switch", args={"type": "object"}, undo={"required": ["to"]}, probe=True)
    said = Presence(name="web-2", instance_id="i", version="1", at=datetime.now(UTC), actions=[switch])
    await desk.send(TOPOLOGY.results, TOPOLOGY.presence_key("web-2"), encode(said))

    async def look() -> Any:
        return (await desk.http.get("/api/agents")).json()["items"] or None

    [agent] = msgspec.convert(await eventually(look, every=0.01), list[KnownAgent])
    assert (agent.name, agent.live, agent.actions) == ("web-2", True, [switch])


@pytest.mark.parametrize(
    ("seen_at", "stopping", "live"), [(100, False, False), (101, False, True), (101, True, False)]
)
def test_an_agent_is_live_for_a_while(seen_at: int, stopping: bool, live: bool) -> None:  # noqa: FBT001
    """While its announcement is recent, unless that said that it stops."""
    said = Presence(name="a", instance_id="i", version="1", at=datetime.now(UTC), stopping=stopping)
    assert agent_view(AgentRecord(said, seen_at), live_since=100).live is live


async def test_a_label_without_a_value_makes_no_sense(desk: Office) -> None:
    """Refused, saying how it is written."""
    answer = await desk.http.get("/api/agents?label=role")
    assert answer.status_code == 400
    assert "KEY=VALUE" in answer.json()["error"]["hint"]


async def test_the_openapi_document_lists_every_route(desk: Office) -> None:
    """`/schema` describes all paths and request bodies, and loads nothing from elsewhere."""
    answer = await desk.http.get("/schema")
    paths = answer.json()["paths"]
    assert {
        "/api/events", "/api/workflows", "/api/workflows/{name}", "/api/runs", "/api/runs/{run_id}",
        "/api/runs/{run_id}/history", "/api/runs/{run_id}/cancel", "/api/runs/{run_id}/resolve",
        "/api/runs/{run_id}/pause", "/api/runs/{run_id}/resume", "/api/runs/{run_id}/approve",
        "/api/runs/{run_id}/retry", "/api/runs/{run_id}/move", "/api/runs/bulk", "/api/approvals",
        "/api/workflows/{name}/versions",
        "/api/agents", "/api/inbox", "/api/dead", "/api/dead/{letter_id}", "/api/dead/replay",
        "/health/live", "/health/ready", "/metrics",
    } == set(paths)  # fmt: skip
    assert all(
        "requestBody" in paths[path]["post"] for path in ("/api/runs", "/api/events", "/api/workflows")
    )
    assert (await desk.http.get("/schema/openapi.json")).json() == answer.json()
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/api/runs/a/b/c", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("DELETE", "/api/runs", 405, "method_not_allowed"),
        ("PATCH", "/api/workflows/hello", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_has_the_same_shape(
    desk: Office, method: str, path: str, status: int, code: str
) -> None:
    """Errors of the framework are in our shape too."""
    answer = await desk.http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "hint", "details"}
    assert answer.json()["error"]["code"] == code


async def test_a_fault_of_ours_shows_no_traceback(
    desk: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A 500 says nothing of the inside; the log has all of it."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(SqliteReader, "run", broken)
    with caplog.at_level(logging.ERROR):
        answer = await desk.http.get("/api/runs/x")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "the secret inside" in caplog.text


async def test_a_stopping_coordinator_says_503(desk: Office) -> None:
    """What comes too late is told to try again, not that it was wrong."""
    desk.coordinator.stop()
    answer = await desk.http.post("/api/runs", json={"workflow": "hello", "input": {"name": "x"}})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "stopping"
