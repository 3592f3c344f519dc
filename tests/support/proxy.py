"""A TCP proxy that breaks the network on purpose."""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Proxy"]


class Proxy:
    """Stands between a client and the server of an URL; `url` is the same URL by way of the proxy.

    `cut` resets every connection; `refuse` also turns away new ones, until `accept`. While `silent` is set,
    nothing of what the server says reaches a client.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._url = parts
        self._target = (parts.hostname, parts.port or 5672)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._changed = asyncio.Event()
        self.silent = False
        self.attempts = 0
        self._carried = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The URL to give to the client."""
        assert self._server is not None
        user = self._url.netloc.rpartition("@")[0]
        port = self._server.sockets[0].getsockname()[1]
        return self._url._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Reset every connection, and every new one at once."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Let connections through again."""
        self._refusing = False

    async def attempted(self, number: int) -> None:
        """Return once there were `number` attempts to connect in all."""
        while self.attempts < number:
            self._changed.clear()
            await self._changed.wait()

    async def carry(self, number: int) -> None:
        """Return once clients have sent so many more bytes."""
        goal = self._carried + number
        while self._carried < goal:
            self._changed.clear()
            await self._changed.wait()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        self._changed.set()
        if self._refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers.add(there_writer)
        for pump in (self._pump(reader, there_writer), self._pump(there_reader, writer, answers=True)):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        try:
            while data := await reader.read(65536):
                if not answers:
                    self._carried += len(data)
                    self._changed.set()
                if not (answers and self.silent):
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass  # it was cut, here or by one of the two
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
