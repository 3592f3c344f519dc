"""`http.request` and `http.download`, against a small server on loopback."""

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents import ActionError, Context
from agents.builtins import http
from agents.limits import MAX_BODY_BYTES
from schemas.codec import encode
from tests.support.agents import context, names

CONTENT = os.urandom(3_000_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        """`/file`, `/short`, `/redirect`, `/slow`, `/big`, `/status/N`, `/json`."""
        kind, _, argument = self.path.strip("/").partition("/")
        server: Any = self.server
        server.seen.append(self.path)
        if kind == "slow":
            server.release.wait(20)
        if kind == "redirect":
            self._send(302, b"", Location="/file")
        elif kind in ("file", "short"):
            self._send(200, CONTENT if kind == "file" else CONTENT[:1000], length=len(CONTENT))
        elif kind == "big":
            self._send(200, b"\x00" * 2_000_000)
        elif kind == "status":
            self._send(int(argument), b"because")
        else:
            self._send(200, json.dumps({"path": self.path, "trace": self.headers["traceparent"]}).encode())

    def do_POST(self) -> None:
        """Echo."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(201, body, type_=self.headers.get("Content-Type", ""))

    def _send(
        self, status: int, body: bytes, *, length: int | None = None, type_: str = "", **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("X-Type", type_)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Keeps what was asked; `release` lets `/slow` answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str] = []
        self.release = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.release.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A context with a trace."""
    made = context(tmp_path)
    made.traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    return made


async def failing(call: Any, code: str) -> ActionError:
    """The error that `call` ends with."""
    with pytest.raises(ActionError) as caught:
        await call
    assert caught.value.code == code, caught.value
    return caught.value


async def test_an_answer_comes_with_its_parts(ctx: Context, server: Server) -> None:
    """Status, headers, body as text and as JSON; the trace goes along."""
    answer = await http.request(ctx, method="get", url=f"{server.url}/a?b=c")
    assert answer.status == 200
    assert answer.json == {"path": "/a?b=c", "trace": ctx.traceparent}
    assert json.loads(answer.body) == answer.json
    assert "content-length" in answer.headers


async def test_a_body_is_sent_as_json_or_as_it_is(ctx: Context, server: Server) -> None:
    """With the content type that fits."""
    sent = await http.request(ctx, method="POST", url=server.url, json={"a": 1})
    assert (sent.json, sent.headers["x-type"]) == ({"a": 1}, "application/json")
    plain = await http.request(
        ctx, method="POST", url=server.url, body="grüße", headers={"Content-Type": "t/x"}
    )
    assert (plain.body, plain.json, plain.headers["x-type"]) == ("grüße", None, "t/x")


async def test_an_unexpected_status_fails(ctx: Context, server: Server) -> None:
    """Any 2xx is expected unless `expect` says otherwise; the error has status and body."""
    error = await failing(http.request(ctx, method="GET", url=f"{server.url}/status/503"), "http_status")
    assert error.retryable
    assert error.details == {"status": 503, "body": "because"}
    expected = await http.request(ctx, method="GET", url=f"{server.url}/status/404", expect=[404])
    assert expected.status == 404
    await failing(http.request(ctx, method="GET", url=f"{server.url}/a", expect=[204]), "http_status")
    await failing(http.request(ctx, method="GET", url=f"{server.url}/redirect"), "http_status")


async def test_no_answer_in_time_fails(ctx: Context, server: Server) -> None:
    """Past `timeout`, which may be text."""
    await failing(http.request(ctx, method="GET", url=f"{server.url}/slow", timeout="100ms"), "http_timeout")
    error = await failing(http.request(ctx, method="GET", url=server.url, timeout="soon"), "bad_arguments")
    assert error.details == {"field": "timeout"}


async def test_nobody_there_fails(ctx: Context) -> None:
    """Retryable: they may come back."""
    error = await failing(http.request(ctx, method="GET", url="http://127.0.0.1:1/"), "http_error")
    assert error.retryable


@pytest.mark.parametrize("url", ["ftp://example.com/", "nonsense", "http://host:port/", "/path"])
async def test_what_is_no_url_fails_for_good(ctx: Context, url: str, tmp_path: Path) -> None:
    """Another attempt would fail the same way."""
    assert not (await failing(http.request(ctx, method="GET", url=url), "bad_arguments")).retryable
    downloading = http.download(ctx, url=url, to=str(tmp_path / "f"))
    assert not (await failing(downloading, "bad_arguments")).retryable


async def test_a_large_answer_is_cut(ctx: Context, server: Server) -> None:
    """The output stays far below the limit, whatever bytes the server sends."""
    answer = await http.request(ctx, method="GET", url=f"{server.url}/big")
    assert len(answer.body) == MAX_BODY_BYTES
    assert len(encode(answer)) < 200_000


def test_repeating_a_request_is_as_safe_as_its_method() -> None:
    """GET is idempotent, POST is not."""
    assert http.request.is_idempotent({"method": "get", "url": "x"})
    assert not http.request.is_idempotent({"method": "POST", "url": "x"})


async def test_a_file_is_downloaded(ctx: Context, server: Server, tmp_path: Path) -> None:
    """Checked, whole, and nothing beside it; redirects are followed."""
    to = tmp_path / "dir" / "f"
    got = await http.download(ctx, url=f"{server.url}/redirect", to=str(to), sha256=SHA.upper())
    assert (got.path, got.bytes, got.sha256) == (str(to), len(CONTENT), SHA)
    assert to.read_bytes() == CONTENT
    assert names(to.parent) == ["f"]


async def test_what_is_there_already_is_not_downloaded(ctx: Context, server: Server, tmp_path: Path) -> None:
    """With the digest given, the content counts; another content is replaced."""
    to = tmp_path / "f"
    to.write_bytes(CONTENT)
    assert (await http.download(ctx, url=f"{server.url}/file", to=str(to), sha256=SHA)).sha256 == SHA
    assert server.seen == []
    to.write_bytes(b"other")
    await http.download(ctx, url=f"{server.url}/file", to=str(to), sha256=SHA)
    assert to.read_bytes() == CONTENT


async def test_other_content_is_refused(ctx: Context, server: Server, tmp_path: Path) -> None:
    """A digest that differs leaves nothing new, and the old file as it was."""
    to = tmp_path / "f"
    error = await failing(
        http.download(ctx, url=f"{server.url}/file", to=str(to), sha256="0" * 64), "sha256_mismatch"
    )
    assert error.details == {"sha256": SHA}
    assert names(tmp_path) == []
    to.write_bytes(b"old")
    await failing(
        http.download(ctx, url=f"{server.url}/file", to=str(to), sha256="0" * 64), "sha256_mismatch"
    )
    assert names(tmp_path) == ["f"]
    assert to.read_bytes() == b"old"


@pytest.mark.parametrize("path", ["short", "status/404"])
async def test_a_failed_download_leaves_nothing(
    ctx: Context, server: Server, tmp_path: Path, path: str
) -> None:
    """A connection that ends early, a status that is not 200."""
    with pytest.raises(ActionError) as caught:
        await http.download(ctx, url=f"{server.url}/{path}", to=str(tmp_path / "f"))
    assert caught.value.code in ("http_error", "http_status")
    assert names(tmp_path) == []


async def test_an_interrupted_download_leaves_nothing(
    ctx: Context, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in the middle of it."""
    task = asyncio.create_task(http.download(ctx, url=f"{server.url}/file", to=str(tmp_path / "f")))

    def cancel(_: Any) -> None:
        task.cancel()

    ctx.on_progress(cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(tmp_path) == []


async def test_a_download_is_bounded(
    ctx: Context, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the limit is an error, not a full disk."""
    monkeypatch.setattr(http, "MAX_DOWNLOAD_BYTES", 1000)
    error = await failing(http.download(ctx, url=f"{server.url}/file", to=str(tmp_path / "f")), "too_large")
    assert not error.retryable
    assert names(tmp_path) == []


def test_a_digest_looks_like_one() -> None:
    """A typo is found before anything is downloaded."""
    for digest in ("", "0" * 63, "g" * 64):
        with pytest.raises(ActionError) as caught:
            http.download.body.check({"url": "http://x/", "to": "/f", "sha256": digest})
        assert caught.value.details == {"field": "sha256"}
