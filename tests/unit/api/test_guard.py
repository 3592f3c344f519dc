"""Who may ask, and how much."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.api.guard import MAX_BODY_BYTES, Guard, is_loopback
from orchestrator.api.server import check_listen
from schemas.errors import InvalidInput
from tests.support.office import BASE, Office, office

TOKEN = "s3cret-token"


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Office]:
    """An API that asks for a token."""
    async with office(tmp_path, token=TOKEN) as running:
        yield running


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xff",
    ],
)
async def test_without_the_token_nothing_is_shown(locked: Office, header: str | None) -> None:
    """No token, a wrong one and another scheme are 401 on every path, also one that does not exist."""
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    for path in ("/api/runs", "/metrics", "/schema", "/nope", "/api/health/live"):
        answer = await locked.http.get(path, headers=headers)  # type: ignore[arg-type]  # raw bytes
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/health/../api/runs", "/health/%2e%2e/api/runs", "/health//api/runs", "/health/"]
)
async def test_the_way_past_health_leads_nowhere(locked: Office, path: str) -> None:
    """What begins like a health path and is none is 404, never something behind the token."""
    answer = await locked.http.get(httpx.URL(BASE, raw_path=path.encode()))
    assert answer.status_code in (401, 404)
    assert "items" not in answer.json()


async def test_with_the_token_everything_is_shown(locked: Office) -> None:
    """The token opens the API from any host name; health needs none."""
    headers = {"authorization": f"bearer {TOKEN}", "host": "baton.example", "origin": "https://example.com"}
    assert (await locked.http.get("/api/runs", headers=headers)).status_code == 200
    assert (await locked.http.post("/api/runs", json={"workflow": "x"}, headers=headers)).status_code == 404
    assert (await locked.http.get("/health/live")).status_code == 200
    assert (await locked.http.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8040", "127.0.0.1.evil.example", "10.0.0.1", "", "[", "0"]
)
async def test_a_foreign_host_is_refused(desk: Office, host: str) -> None:
    """Without a token a name that was rebound to loopback gets nothing, for reads too."""
    answer = await desk.http.get("/api/runs", headers={"host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "foreign_host"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8040", "127.0.0.1:1", "127.8.8.8", "[::1]:8040", "LOCALHOST."]
)
async def test_loopback_by_any_name_is_served(desk: Office, host: str) -> None:
    """Every name of loopback is good."""
    assert (await desk.http.get("/api/runs", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8040", ""]
)
async def test_a_page_of_another_origin_changes_nothing(desk: Office, origin: str) -> None:
    """A cross-origin POST is refused, whatever its content type; the run it wanted does not begin."""
    body = b'{"workflow": "hello", "input": {"name": "x"}}'
    headers = {"origin": origin, "content-type": "text/plain"}
    answer = await desk.http.post("/api/runs", content=body, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "foreign_origin"
    assert (await desk.http.get("/api/runs")).json()["items"] == []


async def test_the_same_origin_may_change(desk: Office) -> None:
    """A page that the API itself served may post."""
    answer = await desk.http.post("/api/runs", json={"workflow": "nope"}, headers={"origin": BASE})
    assert answer.status_code == 404


async def test_a_body_beyond_the_limit_is_413(desk: Office) -> None:
    """A large body is refused before any handler, in the API's own words."""
    answer = await desk.http.post("/api/workflows", content=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


async def test_a_body_that_does_not_come_is_408() -> None:
    """A client that stops sending is told so, and its connection is given up."""

    async def never(*_: Any) -> None:
        raise AssertionError("no handler may see half a request")

    async def slow() -> AsyncIterator[bytes]:
        yield b"half"
        await forever.wait()

    forever = asyncio.Event()
    guard = Guard(never, "", body_seconds=0.05)
    transport = httpx.ASGITransport(app=guard)  # type: ignore[arg-type]  # the same shape, typed apart
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        answer = await http.post("/api/runs", content=slow())
    assert answer.status_code == 408
    assert answer.json()["error"]["code"] == "too_slow"


@pytest.mark.parametrize("listen", ["0.0.0.0:8040", "[::]:8040", "10.1.2.3:80", "example.com:80"])
def test_beyond_loopback_needs_a_token(listen: str) -> None:
    """An address that others can reach is refused without a token, and fine with one."""
    with pytest.raises(InvalidInput, match="no token is set") as refused:
        check_listen(listen, "")
    assert refused.value.code == "token_needed"
    assert check_listen(listen, TOKEN)[1] in (80, 8040)


@pytest.mark.parametrize(
    "listen", ["", "8040", ":8040", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:-1"]
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    """Host and port are both needed."""
    with pytest.raises(InvalidInput):
        check_listen(listen, "")


def test_loopback_names() -> None:
    """Only what can mean nothing but this machine is loopback."""
    assert all(map(is_loopback, ("localhost", "a.localhost", "127.0.0.1", "::1", "[::1]")))
    assert not any(map(is_loopback, ("", "localhost.example", "127.0.0.1.example", "0.0.0.0", "::", "1")))
