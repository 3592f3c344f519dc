"""Stands before every request: who may ask, how large and how slow a request may be.

With a token, every path but `/health/*` needs it. Without one the API only listens on loopback, and then a
web page must not reach it through the user's browser: a `Host` that is not loopback (DNS rebinding) and a
state-changing request with a foreign `Origin` are refused. Cross-site reads need nothing: without CORS
headers no page can see an answer.
"""

import asyncio
import hmac
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from schemas.codec import MAX_MESSAGE_BYTES, encode
from schemas.errors import BatonError

__all__ = ["BODY_SECONDS", "MAX_BODY_BYTES", "Guard", "is_loopback"]

MAX_BODY_BYTES: Final = MAX_MESSAGE_BYTES
"""Largest request body; each kind of content has a limit of its own below it."""

BODY_SECONDS: Final = 10.0
"""How long a client may take to send a body."""

MAX_DRAINED_BYTES: Final = 16 * MAX_BODY_BYTES
"""How much of a body that is too large is read before the connection is cut, so that the client hears why."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Refused(BatonError):
    """A request that is answered before any handler sees it."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


class Guard:
    """ASGI middleware around the whole API. `token` empty: loopback rules hold instead."""

    def __init__(self, app: ASGIApp, token: str, *, body_seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._token = token.encode()
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with its whole body at hand, or answer it here."""
        if scope["type"] != ScopeType.HTTP:  # no other kind is served
            return
        headers = dict(scope["headers"])
        try:
            self._admit(scope, headers)
            body = await self._body(receive)
        except Refused as refusal:
            await _refuse(send, refusal)
        else:
            if body is not None:
                await self._app(scope, _replay(body, receive), send)

    def _admit(self, scope: Any, headers: dict[bytes, bytes]) -> None:
        if self._token:
            if not scope["path"].startswith("/health/"):
                self._check_token(headers)
            return
        host = _host(headers.get(b"host", b""))
        if not is_loopback(host):
            raise Refused(
                403,
                "foreign_host",
                f"this API answers on loopback only, not as '{host[:100]}'",
                "use 127.0.0.1",
            )
        origin = headers.get(b"origin")
        if scope["method"] not in _SAFE and origin is not None and not _same_origin(origin, headers):
            raise Refused(403, "foreign_origin", "a page of another origin may not change anything here")

    def _check_token(self, headers: dict[bytes, bytes]) -> None:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise Refused(
                401,
                "unauthorized",
                "a valid token is needed",
                "send Authorization: Bearer …, or set BATON_TOKEN",
            )

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None when the client has gone."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_seconds):
                more = True
                while more and size <= MAX_DRAINED_BYTES:
                    message: Any = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    size += len(message.get("body", b""))
                    if size <= MAX_BODY_BYTES:
                        chunks.append(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refused(
                408, "too_slow", f"the body was not here within {self._body_seconds:g} s", "send it in one go"
            ) from None
        if size > MAX_BODY_BYTES:
            raise Refused(
                413,
                "too_large",
                f"the body has more than {MAX_BODY_BYTES} bytes",
                "send a reference to the bulk",
            )
        return b"".join(chunks)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _host(value: bytes) -> str:
    """The host of a `Host` header, without its port."""
    try:
        return urlsplit(f"//{value.decode('latin-1')}").hostname or ""
    except ValueError:
        return ""


def _same_origin(origin: bytes, headers: dict[bytes, bytes]) -> bool:
    return origin.partition(b"://")[2].lower() == headers.get(b"host", b"").lower()


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, and then what comes after it."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, refusal: Refused) -> None:
    body = encode({"error": refusal.as_json()})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what the client still sends is not read
    ]
    if refusal.status == 401:  # noqa: PLR2004
        headers.append((b"www-authenticate", b"Bearer"))
    start: Any = {"type": "http.response.start", "status": refusal.status, "headers": headers}
    end: Any = {"type": "http.response.body", "body": body, "more_body": False}
    await send(start)
    await send(end)
