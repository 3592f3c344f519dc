"""The AMQP bus while the network, the broker's objects and its settings go wrong."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pika
import pytest

from orchestrator.local.broker import PrivateBroker
from runtime.bus.amqp import AmqpBus
from runtime.bus.port import Binding, Declarations, Exchange, Message, PublishOutcome, Queue
from runtime.bus.tolerant import UNREADABLE_HEADER
from schemas.errors import InvalidInput
from tests.support.bus import PATIENCE, Inbox, delete
from tests.support.proxy import Proxy

CONFIRMED, UNCONFIRMED = PublishOutcome.CONFIRMED, PublishOutcome.UNCONFIRMED


@pytest.fixture
async def declarations(amqp_url: str, namespace: str) -> AsyncIterator[Declarations]:
    """One exchange and one queue, both of the namespace's name, bound by the key `k`."""
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 1000}
    made = Declarations(
        [Exchange(namespace, "direct")], [Queue(namespace, quorum)], [Binding(namespace, namespace, "k")]
    )
    yield made
    await delete(amqp_url, [made])


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[Proxy]:
    """The way to the broker."""
    async with Proxy(amqp_url) as made:
        yield made


@pytest.fixture
async def bus(proxy: Proxy, declarations: Declarations) -> AsyncIterator[AmqpBus]:
    """A started bus by way of the proxy."""
    made = AmqpBus(proxy.url, declarations, name="test")
    await made.start()
    yield made
    await made.stop()


def messages(exchange: str, numbers: Sequence[int]) -> list[Message]:
    """One message for each number."""
    return [Message(exchange, "k", str(number).encode(), mandatory=True) for number in numbers]


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """What the bus logged."""
    return [r.getMessage() for r in caplog.records if r.name.startswith("runtime") and r.levelno >= level]


async def test_a_broker_away_at_start_is_waited_for(
    proxy: Proxy, declarations: Declarations, caplog: pytest.LogCaptureFixture
) -> None:
    """`start` tries again until the broker is there, and says so once, not for each attempt."""
    caplog.set_level(logging.INFO, "runtime")
    proxy.refuse()
    bus = AmqpBus(proxy.url, declarations, name="test")
    starting = asyncio.create_task(bus.start())
    async with asyncio.timeout(PATIENCE):
        await proxy.attempted(4)
        assert not starting.done()
        proxy.accept()
        await starting
    assert await bus.publish(messages(declarations.queues[0].name, [1])) == [CONFIRMED]
    await bus.stop()
    told = lines(caplog)
    assert len(told) == 2
    assert told[0].startswith("cannot use the broker")
    assert told[1].startswith("connected")


async def test_nothing_confirmed_is_lost_when_connections_are_cut(
    bus: AmqpBus, proxy: Proxy, namespace: str
) -> None:
    """Cut in the middle of publishing again and again: every confirmed message is in the queue."""
    left, cuts = list(range(3000)), 0
    while left:
        publishing = asyncio.create_task(bus.publish(messages(namespace, left[:300])))
        if cuts < 8:
            for _ in range(cuts):  # each time a little later
                await asyncio.sleep(0)
            proxy.cut()
            cuts += 1
        outcomes = await publishing
        sent = {n for n, outcome in zip(left, outcomes, strict=False) if outcome is CONFIRMED}
        left = [n for n in left if n not in sent]
        await bus.wait_connected()
    inbox, seen = Inbox(), set[int]()
    await bus.subscribe(namespace, inbox, prefetch=500)
    while len(seen) < 3000:
        got = await inbox.take_all()
        seen |= {int(delivery.body) for delivery in got}
        await bus.ack(got)


async def test_a_lost_confirm_is_known_at_once(bus: AmqpBus, proxy: Proxy, namespace: str) -> None:
    """When the connection goes while confirms are awaited, the publish ends; it does not wait its timeout."""
    proxy.silent = True
    publishing = asyncio.create_task(bus.publish(messages(namespace, range(50))))
    began = monotonic()
    async with asyncio.timeout(PATIENCE):
        await proxy.carry(1_000)
    proxy.cut()
    assert set(await publishing) == {UNCONFIRMED}
    assert monotonic() - began < 5
    proxy.silent = False


async def test_a_broker_that_says_nothing_is_not_waited_for_long(
    proxy: Proxy, declarations: Declarations, namespace: str
) -> None:
    """A publish ends after its timeout with `UNCONFIRMED`, and so does an acknowledgement, without a word."""
    bus = AmqpBus(proxy.url, declarations, name="test", timeout=0.3)
    await bus.start()
    proxy.silent = True
    assert await bus.publish(messages(namespace, [1, 2])) == [UNCONFIRMED, UNCONFIRMED]
    proxy.silent = False
    proxy.cut()
    await bus.stop()


async def test_everything_is_handled_though_connections_are_cut(
    bus: AmqpBus, proxy: Proxy, namespace: str
) -> None:
    """Cut while consuming: what was not acknowledged comes again, until all has been."""
    inbox, seen, cuts = Inbox(), set[bytes](), 0
    await bus.publish(messages(namespace, range(1000)))
    await bus.subscribe(namespace, inbox, prefetch=50)
    while len(seen) < 1000:
        got = await inbox.take_all()
        await bus.ack(got)
        seen |= {delivery.body for delivery in got}
        if len(seen) > 150 * (cuts + 1):
            proxy.cut()
            cuts += 1
    assert cuts >= 5
    await bus.stop()
    await bus.start()
    inbox.waiting.clear()
    rest = await bus.peek(namespace, 1000)  # acknowledgements that a cut took with it
    assert all(delivery.redelivered for delivery in rest)
    await bus.ack(rest)


async def test_a_lost_connection_is_one_line_each_way(
    bus: AmqpBus, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when the broker is lost, one for what keeps it away, one when it is back."""
    caplog.set_level(logging.INFO, "runtime")
    before = proxy.attempts
    proxy.refuse()
    async with asyncio.timeout(PATIENCE):
        await proxy.attempted(before + 4)
        proxy.accept()
        await bus.wait_connected()
    told = lines(caplog)
    assert [line.split()[0] for line in told] in (["lost", "connected"], ["lost", "cannot", "connected"])


async def test_a_deleted_queue_is_declared_and_consumed_again(
    bus: AmqpBus, amqp_url: str, namespace: str
) -> None:
    """When somebody deletes the queue, the subscription goes on with a new one, bindings included."""
    inbox = Inbox()
    await bus.subscribe(namespace, inbox, prefetch=10)
    await bus.publish(messages(namespace, [1]))
    await bus.ack(await inbox.take())
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await channel.queue_delete(namespace)
    async with asyncio.timeout(PATIENCE):
        while await bus.publish(messages(namespace, [2])) != [CONFIRMED]:
            pass
    got = await inbox.take()
    assert got[0].body == b"2"
    await bus.ack(got)


async def test_a_deleted_exchange_is_declared_again(bus: AmqpBus, amqp_url: str, namespace: str) -> None:
    """When somebody deletes the exchange, one publish is not confirmed and the next one gets through."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await channel.exchange_delete(namespace)
    assert await bus.publish(messages(namespace, range(20))) == [UNCONFIRMED] * 20
    assert await bus.publish(messages(namespace, range(20))) == [CONFIRMED] * 20


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"netloc": "guest:s3cret-wrong@{place}"}, "refuses the user or the password"),
        ({"path": "/no-such-vhost"}, "virtual host"),
        ({"netloc": "guest:s3cret-wrong@127.0.0.1:1"}, "refused"),
    ],
)
async def test_what_a_person_must_mend_is_said_clearly(
    amqp_url: str, caplog: pytest.LogCaptureFixture, change: dict[str, str], advice: str
) -> None:
    """A wrong password, virtual host or port gives one line that says so, and no credentials."""
    parts = urlsplit(amqp_url)
    place = parts.netloc.rpartition("@")[2]
    url = parts._replace(**{name: text.format(place=place) for name, text in change.items()}).geturl()
    told = await first_complaint(AmqpBus(url, Declarations(), name="test"), caplog)
    assert advice in told
    assert all("s3cret" not in record.getMessage() for record in caplog.records)


async def test_a_queue_of_another_kind_is_said_clearly(
    bus: AmqpBus, amqp_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A queue that exists with other arguments is named, with what to do."""
    other = Declarations(queues=[Queue(namespace, {"x-queue-type": "classic"})])
    told = await first_complaint(AmqpBus(amqp_url, other, name="test"), caplog)
    assert namespace in told
    assert "delete the queue" in told


async def first_complaint(bus: AmqpBus, caplog: pytest.LogCaptureFixture) -> str:
    """Start a bus that cannot, and return the first warning."""
    heard = asyncio.Event()

    def hear(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            heard.set()
        return True

    logger = logging.getLogger("runtime.bus.amqp")
    logger.addFilter(hear)
    starting = asyncio.create_task(bus.start())
    try:
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
    finally:
        logger.removeFilter(hear)
        starting.cancel()
        await bus.stop()
    return lines(caplog, logging.WARNING)[0]


async def test_a_restarted_broker_has_what_it_confirmed(broker: PrivateBroker, namespace: str) -> None:
    """Killed and started again, the broker has every confirmed message, and the bus finds back to it."""
    quorum = Queue(namespace, {"x-queue-type": "quorum", "x-delivery-limit": 20})
    made = Declarations([Exchange(namespace, "direct")], [quorum], [Binding(namespace, namespace, "k")])
    bus, inbox = AmqpBus(broker.url, made, name="test"), Inbox()
    await bus.start()
    assert set(await bus.publish(messages(namespace, range(100)))) == {CONFIRMED}
    await bus.subscribe(namespace, inbox, prefetch=30)
    first = await inbox.take(30)
    await broker.kill()
    assert set(await bus.publish(messages(namespace, [100]))) == {UNCONFIRMED}
    await broker.restart()
    await bus.ack(first)  # of a connection that is gone
    seen: set[int] = set()
    while len(seen) < 100:
        got = await inbox.take_all()
        seen |= {int(delivery.body) for delivery in got}
        await bus.ack(got)
    assert await bus.publish(messages(namespace, [101])) == [CONFIRMED]
    await bus.stop()
    await delete(broker.url, [made])


def deep(levels: int) -> dict[str, Any]:
    """Tables in tables."""
    return {"deeper": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("properties", "headers"),
    [
        ({"timestamp": 1_700_000_000_000_000_000}, {}),
        ({"timestamp": 2**64 - 1, "headers": {"traceparent": "00-ab"}}, {"traceparent": "00-ab"}),
        ({"correlation_id": b"\xff\xfe", "content_type": b"\xff"}, {}),
        ({"headers": {b"\xff": 1}}, None),
        ({"headers": deep(40)}, None),
        ({"headers": deep(250)}, None),
    ],
)
async def test_properties_that_cannot_be_read_do_not_stop_a_consumer(
    bus: AmqpBus, amqp_url: str, namespace: str, properties: dict[str, Any], headers: dict[str, Any] | None
) -> None:
    """Any message that the broker takes is delivered, once, with its body; headers beyond reading say so."""

    def publish() -> None:
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(namespace, "k", b"body", pika.BasicProperties(**properties))

    inbox = Inbox()
    await bus.subscribe(namespace, inbox, prefetch=1)
    await asyncio.to_thread(publish)
    (got,) = await inbox.take()
    assert (got.body, got.redelivered) == (b"body", False)
    assert list(got.headers) == [UNREADABLE_HEADER] if headers is None else got.headers == headers
    await bus.ack([got])


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost/", "amqp://"])
def test_an_url_that_is_none_is_refused(url: str) -> None:
    """What cannot be the URL of a broker is `InvalidInput` before anything is tried."""
    with pytest.raises(InvalidInput):
        AmqpBus(url, Declarations(), name="test")
