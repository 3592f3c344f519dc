"""`http.request` and `http.download`."""

import asyncio
import functools
import hashlib
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
from msgspec import Meta, Struct

from agents.arguments import absolute, seconds
from agents.builtins.files import replacing
from agents.context import Context
from agents.limits import MAX_BODY_BYTES, MAX_DOWNLOAD_BYTES
from agents.processes import printable
from agents.sdk import ActionError, Agent
from schemas.codec import Malformed, decode_json

__all__ = ["Answer", "Downloaded", "agent"]

agent = Agent()

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$(?!\n)")]

SAFE_TO_REPEAT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods that RFC 9110 section 9.2.2 calls idempotent."""

_DEFAULT_TIMEOUT: Final = 30.0
_MAX_HEADERS: Final = 64
_MAX_HEADER: Final = 256
_CHUNK: Final = 1024 * 1024


class Answer(Struct, frozen=True):
    """What the server said: the first 48 KiB of the body as text, and as a value if that is JSON."""

    status: int
    headers: dict[str, str]
    body: str
    json: Any


class Downloaded(Struct, frozen=True):
    """The file as it now is; `bytes` is its size."""

    path: str
    bytes: int
    sha256: str


@functools.cache
def _trust() -> Any:
    """The certificates to trust: loading them takes tens of milliseconds, once."""
    return httpx.create_ssl_context()


def _client(timeout: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_trust(), timeout=timeout)


def _repeatable(method: str, **_: Any) -> bool:
    return method.upper() in SAFE_TO_REPEAT


@agent.action("http.request", idempotent=_repeatable)
async def request(  # noqa: PLR0913 - the arguments that a workflow's author writes
    ctx: Context,
    *,
    method: str,
    url: str,
    headers: dict[str, str] = {},  # noqa: B006 - a default for the arguments' schema, never changed
    json: Any = None,
    body: str | None = None,
    timeout: str | float = _DEFAULT_TIMEOUT,  # noqa: ASYNC109 - a workflow's own limit on the request
    expect: list[int] | None = None,
) -> Answer:
    """Make one HTTP request, with `json` (sent as JSON) or `body` (sent as it is). No redirect is followed.

    A status outside `expect` (default: any 2xx) fails with `http_status`, no answer within `timeout`
    (seconds, or text such as `5s`) with `http_timeout`, no connection with `http_error`.

    Idempotent: as the method is (GET, HEAD, OPTIONS, PUT, DELETE are; POST and PATCH are not). Undo: the
    request that takes it back, which only the service's author knows.
    """
    sent = {**({"traceparent": ctx.traceparent} if ctx.traceparent else {}), **headers}
    limit = seconds(timeout) or _DEFAULT_TIMEOUT
    try:
        async with asyncio.timeout(limit), _client(limit) as client:
            content = body.encode() if body is not None else None
            async with client.stream(
                method.upper(), url, headers=sent, json=json, content=content
            ) as response:
                answer = _answer(response, await _head(response))
    except (TimeoutError, httpx.TimeoutException):
        raise ActionError("http_timeout", f"{method} {url}: no answer within {limit:g} s") from None
    except _NOT_A_REQUEST as error:
        raise ActionError("bad_arguments", f"{method} {url}: {error}", retryable=False) from None
    except httpx.HTTPError as error:
        raise _unreachable(method, url, error) from None
    if not (answer.status in expect if expect else 200 <= answer.status < 300):  # noqa: PLR2004
        details = {"status": answer.status, "body": answer.body[:2000]}
        raise ActionError("http_status", f"{method} {url} answered {answer.status}", details=details)
    return answer


_NOT_A_REQUEST: Final = (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, TypeError, ValueError)


def _unreachable(method: str, url: str, error: Exception) -> ActionError:
    return ActionError("http_error", f"{method} {url}: {str(error) or type(error).__name__}")


async def _head(response: httpx.Response) -> bytes:
    """The first bytes of the body; what a server sends beyond the limit is not read."""
    head = bytearray()
    async for chunk in response.aiter_bytes():
        head += chunk
        if len(head) > MAX_BODY_BYTES:
            break
    return bytes(head)


def _answer(response: httpx.Response, head: bytes) -> Answer:
    try:
        value = decode_json(head, limit=MAX_BODY_BYTES) if head else None
    except Malformed:
        value = None
    text = printable(head[:MAX_BODY_BYTES].decode(response.charset_encoding or "utf-8", "replace"))
    few = list(response.headers.items())[:_MAX_HEADERS]
    return Answer(response.status_code, {name: text[:_MAX_HEADER] for name, text in few}, text, value)


@agent.action("http.download", idempotent=True)
async def download(ctx: Context, url: str, to: str, sha256: Sha256 | None = None) -> Downloaded:
    """Download a file: to a temporary file beside `to`, checked, synced, renamed. Redirects are followed.

    With `sha256` given, content that differs fails with `sha256_mismatch` and leaves nothing, and if `to`
    already has that content nothing is downloaded. At most 16 GiB.

    Idempotent: yes. Undo: `file.remove` of `path`.
    """
    target = absolute(to, "to")
    wanted = sha256.lower() if sha256 else None
    if wanted and (there := await asyncio.to_thread(_what_is_there, target, ctx)) and there.sha256 == wanted:
        return there
    try:
        async with _client(_DEFAULT_TIMEOUT) as client:
            got = await _fetch(client, ctx, url, target, wanted)
    except httpx.TimeoutException:
        raise ActionError("http_timeout", f"GET {url}: the server stopped answering") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ActionError("bad_arguments", f"GET {url}: {error}", retryable=False) from None
    except httpx.HTTPError as error:
        raise _unreachable("GET", url, error) from None
    except OSError as error:
        raise ActionError("file_error", f"{to}: {error.strerror or error}") from None
    return got


async def _fetch(
    client: httpx.AsyncClient, ctx: Context, url: str, target: Path, wanted: str | None
) -> Downloaded:
    headers = {"traceparent": ctx.traceparent} if ctx.traceparent else {}
    digest, size = hashlib.sha256(), 0
    async with client.stream("GET", url, headers=headers, follow_redirects=True) as response:
        if response.status_code != httpx.codes.OK:
            raise ActionError(
                "http_status",
                f"GET {url} answered {response.status_code}",
                details={"status": response.status_code},
            )
        with replacing(ctx, target, 0o644) as stream:
            async for chunk in response.aiter_bytes(_CHUNK):
                size += len(chunk)
                if size > MAX_DOWNLOAD_BYTES:
                    raise ActionError(
                        "too_large", f"{url} is larger than {MAX_DOWNLOAD_BYTES} bytes", retryable=False
                    )
                digest.update(chunk)
                stream.write(chunk)
                ctx.progress({"bytes": size})
            if wanted and digest.hexdigest() != wanted:
                raise ActionError(
                    "sha256_mismatch",
                    f"{url} has SHA-256 {digest.hexdigest()}, expected {wanted}",
                    details={"sha256": digest.hexdigest()},
                )
    return Downloaded(str(target), size, digest.hexdigest())


def _what_is_there(path: Path, ctx: Context) -> Downloaded | None:
    """The file at `path` with its digest; None if there is none that can be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                ctx.check()
                digest.update(chunk)
                size += len(chunk)
    except OSError:
        return None
    return Downloaded(str(path), size, digest.hexdigest())
