"""The API's HTTP server: uvicorn in the coordinator's own event loop, quiet, with limits on everything."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any, Final

import h11
import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator.api.guard import is_loopback
from schemas.errors import Conflict, InvalidInput, Unreachable

__all__ = ["ApiServer", "bind", "check_listen"]

MAX_CONNECTIONS: Final = 200
MAX_HEADER_BYTES: Final = 32 * 1024
HEADER_SECONDS: Final = 10.0
"""How long a client may take to send a request's headers."""
KEEP_ALIVE_SECONDS: Final = 30
STOP_SECONDS: Final = 5
"""How long requests that are being answered may take once the server stops."""


def check_listen(listen: str, token: str) -> tuple[str, int]:
    """Host and port of `listen`; `InvalidInput` for no address, or beyond loopback without a token."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  the largest port there is
        raise InvalidInput(
            f"'{listen}' is not an address to listen on", code="bad_listen", hint="for example 127.0.0.1:8040"
        )
    if not token and not is_loopback(host):
        raise InvalidInput(
            f"listening on {listen} lets other machines in, and no token is set",
            code="token_needed",
            hint="set BATON_TOKEN, or listen on 127.0.0.1",
        )
    return host, int(port)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; `Conflict` when the port is taken, `Unreachable` when the address cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # `localhost` may be both: clients try IPv4 in any case
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Unreachable(f"cannot listen on {host}: {error.strerror}", code="bad_listen") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {port} on {host} is in use by another process",
                code="port_in_use",
                hint="stop that one, or choose another with --listen",
            ) from None
        raise Unreachable(
            f"cannot listen on {host}:{port}: {error.strerror}",
            code="bad_listen",
            hint="choose another --listen",
        ) from None
    listener.setblocking(False)
    return listener


class _Protocol(H11Protocol):
    """uvicorn's protocol with a limit on how long headers may take; it has none of its own."""

    _headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers(HEADER_SECONDS)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_headers(HEADER_SECONDS + KEEP_ALIVE_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
        super().connection_lost(exc)

    def _expect_headers(self, seconds: float) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
        self._headers_due = self.loop.call_later(seconds, self._hang_up)

    def _hang_up(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are for the whole process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    """Serves an ASGI application on a listening socket from `start` to `stop`."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a bad request is no news
        self._listener = listener
        application: Any = app
        self._server = _Server(
            uvicorn.Config(
                application,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MAX_CONNECTIONS,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, also when the port was chosen by the system."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="api")

    async def stop(self) -> None:
        """Finish what is being answered, within `STOP_SECONDS`, and close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()

    async def wait(self) -> None:
        """Return when the server ends by itself, which it should not."""
        if self._task is not None:
            await asyncio.shield(self._task)
