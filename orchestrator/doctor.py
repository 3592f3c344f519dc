"""`baton doctor`: looks at all that Baton stands on, and says of each what to do. It changes nothing.

The broker's part makes one exclusive queue of a name of its own, and removes it.
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import aio_pika
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import make_url
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from msgspec import Struct

from orchestrator.cli.client import ApiClient
from orchestrator.settings import Settings
from orchestrator.store.reader import SqliteReader
from orchestrator.topology import coordinator_declarations
from runtime.bus.port import Exchange, Queue
from runtime.bus.session import TRANSPORT_ERRORS, explain, place
from schemas.errors import BatonError, NotFound
from schemas.names import Topology

__all__ = ["Check", "examine"]

CONNECT_SECONDS: Final = 5.0
ASK_SECONDS: Final = 10.0
MAX_SKEW: Final = 5.0
"""Seconds that two clocks may differ: commands expire by the agent's clock."""


class Check(Struct, frozen=True):
    """What was found. `verdict` is `ok`, `warn`, `fail`, or `skip` for what could not be looked at."""

    name: str
    verdict: Literal["ok", "warn", "fail", "skip"]
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        """The shape of `--json`."""
        return {"name": self.name, "verdict": self.verdict, "message": self.message, "hint": self.hint}


async def examine(settings: Settings) -> list[Check]:
    """Look at broker, permissions, topology, database, API, clocks. Never raises for what it finds."""
    checks = [*await _broker(settings), await _guarded("database", lambda: _database(settings))]
    client = ApiClient(settings.url, settings.token)
    checks.append(await _guarded("api", lambda: _api(client, settings)))
    if checks[-1].verdict == "fail":
        return [*checks, Check("clocks", "skip", "the API does not answer")]
    return [*checks, await _guarded("clocks", lambda: _clocks(client))]


async def _guarded(name: str, look: Callable[[], Awaitable[Check]]) -> Check:
    """The check, or what kept it from being made."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await look()
    except BatonError as error:
        return Check(name, "fail", error.message, error.hint)
    except TimeoutError:
        return Check(name, "fail", f"no answer within {ASK_SECONDS:g} s", "see the log of what should answer")


# The broker


async def _broker(settings: Settings) -> list[Check]:
    where = place(settings.amqp_url)
    connection = await _connect(settings.amqp_url)
    if isinstance(connection, str):
        hint = "start it, or say where it is with BATON_AMQP_URL; that of baton up is in .baton/broker/url"
        skipped = [
            Check(name, "skip", "the broker cannot be reached") for name in ("permissions", "topology")
        ]
        return [Check("broker", "fail", f"cannot use the broker at {where}: {connection}", hint), *skipped]
    try:
        found = Check("broker", "ok", f"{where}, {_version(connection)}")
        permissions = await _guarded("permissions", lambda: _permissions(connection, settings))
        return [found, permissions, await _guarded("topology", lambda: _topology(connection, settings))]
    finally:
        await connection.close()


async def _connect(url: str) -> AbstractConnection | str:
    """A connection, or why there is none."""
    connection = aio_pika.Connection(make_url(url))
    try:
        await connection.connect(timeout=CONNECT_SECONDS)
    except (*TRANSPORT_ERRORS, ValueError) as error:
        await connection.close()
        return explain(error)
    return connection


def _version(connection: AbstractConnection) -> str:
    transport: Any = connection.transport
    properties: dict[str, Any] = transport.connection.server_properties
    return f"{properties.get('product', 'an AMQP broker')} {properties.get('version', '')}".strip()


async def _permissions(connection: AbstractConnection, settings: Settings) -> Check:
    """Configure, write and read, tried on a queue that nobody else sees."""
    name = f"{settings.namespace}.doctor.{secrets.token_hex(4)}"
    try:
        channel = await connection.channel()
        queue = await channel.declare_queue(name, exclusive=True, auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(b"?"), name)
        message = await queue.get(timeout=CONNECT_SECONDS)
        if message is not None:
            await message.ack()
        await queue.delete(if_unused=False, if_empty=False)
        await channel.close()
    except TRANSPORT_ERRORS as error:
        ours = f"'{settings.namespace}.*'"
        hint = f"rabbitmqctl set_permissions -p VHOST USER {ours} '.*' {ours}"
        return Check("permissions", "fail", explain(error), hint)
    return Check("permissions", "ok", "the user may configure, write and read")


async def _topology(connection: AbstractConnection, settings: Settings) -> Check:
    """Whether what stands on the broker is what the coordinator declares."""
    declarations = coordinator_declarations(Topology(settings.namespace), settings.shard)
    missing: list[str] = []
    wrong: list[str] = []
    for exchange in declarations.exchanges:
        await _compare(connection, exchange.name, partial(_declare_exchange, exchange), missing, wrong)
    for queue in declarations.queues:
        await _compare(connection, queue.name, partial(_declare_queue, queue), missing, wrong)
    return _topology_check(settings, missing, wrong)


async def _declare_exchange(exchange: Exchange, channel: AbstractChannel, *, passive: bool) -> None:
    await channel.declare_exchange(exchange.name, ExchangeType(exchange.kind), durable=True, passive=passive)


async def _declare_queue(queue: Queue, channel: AbstractChannel, *, passive: bool) -> None:
    await channel.declare_queue(queue.name, durable=True, passive=passive, arguments=dict(queue.arguments))


class _Declare(Protocol):
    async def __call__(self, channel: AbstractChannel, *, passive: bool) -> None: ...


async def _compare(
    connection: AbstractConnection,
    name: str,
    declare: _Declare,
    missing: list[str],
    wrong: list[str],
) -> None:
    """Declare what is there already, which changes nothing, and note what the broker says."""
    for passive in (True, False):
        channel = await connection.channel()
        try:
            await declare(channel, passive=passive)
        except ChannelNotFoundEntity:
            missing.append(name)
            return
        except ChannelPreconditionFailed as error:
            wrong.append(f"{name}: {error.args[-1] if error.args else error}")
            return
        except TRANSPORT_ERRORS as error:
            wrong.append(f"{name}: {explain(error)}")
            return
        finally:
            if not channel.is_closed:
                await channel.close()


def _topology_check(settings: Settings, missing: list[str], wrong: list[str]) -> Check:
    if wrong:
        hint = "empty and delete what differs, or choose another --namespace; the coordinator makes it anew"
        return Check("topology", "fail", "; ".join(wrong), hint)
    if missing:
        hint = "" if settings.namespace == "baton" else "is --namespace right?"
        return Check(
            "topology", "warn", f"not there yet: {', '.join(missing)}; a coordinator makes them", hint
        )
    return Check("topology", "ok", f"exchanges and queues of '{settings.namespace}' are as they must be")


# The rest


async def _database(settings: Settings) -> Check:
    path = Path(settings.db)
    if not await asyncio.to_thread(path.exists):
        return Check(
            "database", "warn", f"{path} is not there yet; the coordinator makes it", "or is --db wrong?"
        )
    reader = SqliteReader(path)
    await reader.open()
    try:
        counts = await reader.counts()
    finally:
        await reader.close()
    live = sum(number for status, number in counts.runs.items() if not status.is_final)
    text = f"{path}, {sum(counts.runs.values())} runs, {live} of them live, {counts.outbox} messages to send"
    return Check("database", "ok", f"{text}, SQLite {sqlite3.sqlite_version}")


async def _api(client: ApiClient, settings: Settings) -> Check:
    await asyncio.to_thread(client.get, "/health/live")
    try:
        await asyncio.to_thread(client.get, "/health/ready")
    except BatonError as error:
        return Check("api", "fail", f"{settings.url} answers, but is not ready: {error.message}", error.hint)
    try:
        await asyncio.to_thread(client.get, "/api/agents")
    except NotFound:
        return Check("api", "fail", f"what answers at {settings.url} is not Baton", "check BATON_URL")
    return Check("api", "ok", f"{settings.url} is ready")


async def _clocks(client: ApiClient) -> Check:
    """This machine's clock against the coordinator's, and the coordinator's against each agent's."""
    before = time.time()
    date = await asyncio.to_thread(client.date)
    wrong: list[str] = []
    here = (before + time.time()) / 2
    skew = parsedate_to_datetime(date).timestamp() - here if date else 0.0
    if abs(skew) > MAX_SKEW:
        wrong.append(f"the coordinator's clock differs by {skew:+.0f} s from this machine's")
    agents = (await asyncio.to_thread(client.get, "/api/agents"))["items"]
    for agent in agents:
        skew = _at(agent["at"]) - _at(agent["seen_at"])
        if skew > MAX_SKEW:  # the other way round it may have waited in the queue
            wrong.append(f"the clock of agent {agent['name']} is {skew:.0f} s ahead of the coordinator's")
    if wrong:
        return Check(
            "clocks", "fail", "; ".join(wrong), "set the clocks by NTP: commands expire by the agent's clock"
        )
    return Check("clocks", "ok", f"here, the coordinator's and those of {len(agents)} agents agree")


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
