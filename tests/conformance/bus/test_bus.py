"""What every bus does, in the words of `runtime.bus.port`."""

import asyncio
import logging
from collections import Counter

import pytest

from runtime.bus.port import Binding, Declarations, Delivery, Exchange, Message, PublishOutcome, Queue
from schemas.errors import NotFound, Unreachable
from tests.support.bus import Harness, Inbox

CONFIRMED, RETURNED, UNCONFIRMED = (
    PublishOutcome.CONFIRMED,
    PublishOutcome.RETURNED,
    PublishOutcome.UNCONFIRMED,
)


class World:
    """A queue `work` for key `k` of a direct exchange, whose dead letters go to a queue `dead`."""

    def __init__(self, namespace: str, **arguments: object) -> None:
        self.exchange, self.work, self.dead = f"{namespace}.x", f"{namespace}.work", f"{namespace}.dead"
        limit = {"x-queue-type": "quorum", "x-delivery-limit": 20, "x-dead-letter-exchange": self.dead}
        self.declarations = Declarations(
            exchanges=[Exchange(self.exchange, "direct"), Exchange(self.dead, "fanout")],
            queues=[
                Queue(self.work, {**limit, **arguments}),
                Queue(self.dead, {"x-queue-type": "quorum", "x-delivery-limit": 1000}),
            ],
            bindings=[Binding(self.work, self.exchange, "k"), Binding(self.dead, self.dead, "")],
        )

    def message(self, body: str = "", key: str = "k", *, mandatory: bool = False) -> Message:
        """A message for `work`."""
        return Message(self.exchange, key, body.encode(), mandatory=mandatory)

    def messages(self, number: int) -> list[Message]:
        """Messages `0`, `1`, … for `work`."""
        return [self.message(str(n)) for n in range(number)]


@pytest.fixture
def world(namespace: str) -> World:
    """Names of this test's own."""
    return World(namespace)


def bodies(deliveries: list[Delivery]) -> list[str]:
    """The bodies as text."""
    return [delivery.body.decode() for delivery in deliveries]


async def test_a_message_arrives_as_it_was_sent(harness: Harness, world: World) -> None:
    """Body, headers, content type, exchange and key reach the handler; first it is not `redelivered`."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=10)
    sent = Message(world.exchange, "k", b"\x00\xff", {"traceparent": "00-ab", "n": 7}, "application/x")
    assert await bus.publish([sent]) == [CONFIRMED]
    (got,) = await inbox.take()
    assert (got.queue, got.exchange, got.routing_key) == (world.work, world.exchange, "k")
    assert (got.body, dict(got.headers), got.content_type) == (
        b"\x00\xff",
        {"traceparent": "00-ab", "n": 7},
        "application/x",
    )
    assert not got.redelivered
    await bus.ack([got])


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("a.b", ["a.b"]),
        ("a.*", ["a.b", "a.c"]),
        ("a.#", ["a", "a.b", "a.b.c", "a.c"]),
        ("#.c", ["a.b.c", "a.c", "c"]),
        ("*.*.c", ["a.b.c"]),
        ("#", ["", "a", "a.b", "a.b.c", "a.c", "c"]),
    ],
)
async def test_a_topic_exchange_matches_words(
    harness: Harness, namespace: str, pattern: str, taken: list[str]
) -> None:
    """`*` stands for one word and `#` for any number of them."""
    topic, queue = f"{namespace}.t", f"{namespace}.q"
    bus = await harness.bus(
        Declarations(
            [Exchange(topic, "topic")],
            [Queue(queue, {"x-queue-type": "quorum"})],
            [Binding(queue, topic, pattern)],
        )
    )
    keys = ["", "a", "a.b", "a.b.c", "a.c", "c"]
    await bus.publish([Message(topic, key, key.encode()) for key in keys])
    got = await bus.peek(queue, 10)
    assert sorted(bodies(got)) == taken
    await bus.ack(got)


async def test_a_fanout_exchange_copies_to_every_queue(harness: Harness, namespace: str) -> None:
    """Whatever its key, a message goes once to each queue bound."""
    exchange, one, two = (f"{namespace}.{name}" for name in ("f", "one", "two"))
    quorum = {"x-queue-type": "quorum"}
    bus = await harness.bus(
        Declarations(
            [Exchange(exchange, "fanout")],
            [Queue(one, quorum), Queue(two, quorum)],
            [Binding(one, exchange, ""), Binding(two, exchange, "")],
        )
    )
    await bus.publish([Message(exchange, "anything", b"x")])
    for queue in (one, two):
        got = await bus.peek(queue, 10)
        assert bodies(got) == ["x"]
        await bus.ack(got)


async def test_outcomes_stand_in_the_order_of_the_messages(harness: Harness, world: World) -> None:
    """A mandatory message that no queue takes is `RETURNED`, one that is not mandatory is just confirmed."""
    bus = await harness.bus(world.declarations)
    sent = [
        world.message("1", mandatory=True),
        world.message("2", "nobody", mandatory=True),
        world.message("3", "nobody"),
        world.message("4"),
        world.message("5", "nobody", mandatory=True),
    ]
    assert await bus.publish(sent) == [CONFIRMED, RETURNED, CONFIRMED, CONFIRMED, RETURNED]
    assert await bus.publish([]) == []


async def test_a_missing_exchange_does_not_wedge_the_bus(harness: Harness, world: World) -> None:
    """A message to an exchange that does not exist is `UNCONFIRMED`, and those sent later get through."""
    bus = await harness.bus(world.declarations)
    assert await bus.publish([Message(world.exchange + ".none", "k", b"")]) == [UNCONFIRMED]
    assert await bus.publish([world.message(mandatory=True)]) == [CONFIRMED]


async def test_a_big_batch_arrives_whole(harness: Harness, world: World) -> None:
    """Thousands of messages published together are confirmed, and each arrives exactly once."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=100)
    sent = world.messages(3000)
    outcomes, seen = asyncio.create_task(bus.publish(sent)), Counter[str]()
    while len(seen) < len(sent):
        arrived = await inbox.take_all()
        seen.update(bodies(arrived))
        await bus.ack(arrived)
        assert seen.total() == len(seen)
    assert set(await outcomes) == {CONFIRMED}


async def test_no_more_than_prefetch_is_handed_over(harness: Harness, world: World, namespace: str) -> None:
    """With a prefetch of 3 the fourth message waits until one is acknowledged."""
    marker = Queue(f"{namespace}.marker", {"x-queue-type": "quorum"})
    with_marker = Declarations(
        world.declarations.exchanges,
        [*world.declarations.queues, marker],
        [*world.declarations.bindings, Binding(marker.name, world.exchange, "marker")],
    )
    bus, inbox, markers = await harness.bus(with_marker), Inbox(), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=3)
    await bus.subscribe(marker.name, markers, prefetch=1)
    await bus.publish(world.messages(5))
    first = await inbox.take(3)
    for _ in range(2):  # what the broker would send too much, it would send before these
        await bus.publish([world.message(key="marker")])
        await bus.ack(await markers.take())
    assert inbox.waiting == []
    await bus.ack(first[:1])
    assert bodies(await inbox.take()) == ["3"]


async def test_what_is_not_acknowledged_comes_again(harness: Harness, world: World) -> None:
    """After a cut, what was acknowledged, in any order, stays gone; the rest comes again, `redelivered`."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=10)
    await bus.publish(world.messages(6))
    got = {delivery.body: delivery for delivery in await inbox.take(6)}
    await bus.ack([got[b"4"], got[b"1"]])
    await bus.ack([got[b"0"], got[b"2"]])
    harness.cut()
    again = await inbox.take(2)
    assert sorted(bodies(again)) == ["3", "5"]
    assert all(delivery.redelivered for delivery in again)
    await bus.ack(again)


async def test_acknowledging_for_a_lost_connection_does_nothing(harness: Harness, world: World) -> None:
    """The message of a delivery from before a cut comes again, whether it is acknowledged late or not."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=10)
    await bus.publish([world.message("x")])
    old = await inbox.take()
    harness.cut()
    new = await inbox.take()
    await bus.ack(old)
    await bus.ack(new)
    await bus.ack(new + old)
    assert bodies(new) == ["x"]


async def test_acknowledging_twice_does_no_harm(harness: Harness, world: World) -> None:
    """A second acknowledgement changes nothing, and later messages arrive."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=2)
    for body in ("1", "2", "3"):
        await bus.publish([world.message(body)])
        got = await inbox.take()
        await bus.ack(got + got)
        await bus.ack(got)
        assert bodies(got) == [body]


async def test_a_subscription_outlives_its_connection(harness: Harness, world: World) -> None:
    """What is published after a cut reaches the handler subscribed before it."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=10)
    for number in range(3):
        await bus.publish([world.message(str(number))])
        got = await inbox.take()
        await bus.ack(got)
        assert bodies(got) == [str(number)]
        harness.cut()
        async with asyncio.timeout(10):
            while await bus.publish([world.message("probe", "nobody")]) != [CONFIRMED]:
                await bus.wait_connected()
                await asyncio.sleep(0)


async def test_a_cancelled_subscription_gets_no_more(harness: Harness, world: World) -> None:
    """After `cancel` nothing new is handed over, and what was can still be acknowledged."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    subscription = await bus.subscribe(world.work, inbox, prefetch=10)
    await bus.publish([world.message("before")])
    held = await inbox.take()
    await subscription.cancel()
    await bus.publish([world.message("after")])
    left = await bus.peek(world.work, 10)
    assert bodies(left) == ["after"]
    await bus.ack(held + left)
    assert inbox.waiting == []
    await bus.stop()  # what was not acknowledged would now be back in the queue
    assert await (await harness.bus(world.declarations)).peek(world.work, 10) == []


async def test_a_failing_handler_stops_nothing(
    harness: Harness, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in the handler is logged; its message stays with the broker and the others arrive."""
    bus, inbox = await harness.bus(world.declarations), Inbox()

    def handle(delivery: Delivery) -> None:
        if delivery.body == b"bad" and not delivery.redelivered:
            raise ValueError("a handler's fault")
        inbox(delivery)

    await bus.subscribe(world.work, handle, prefetch=10)
    await bus.publish([world.message("bad"), world.message("good")])
    await bus.ack(await inbox.take())
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert world.work in record.getMessage()
    harness.cut()
    again = await inbox.take()
    assert bodies(again) == ["bad"]
    await bus.ack(again)


async def test_an_expired_message_is_dead_lettered(harness: Harness, world: World) -> None:
    """A message that nobody takes in time goes to the dead-letter exchange and says why; others stay."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.dead, inbox, prefetch=10)
    soon = Message(world.exchange, "k", b"soon", {"mine": 1}, expiration=0.05)
    late = Message(world.exchange, "k", b"late", expiration=600)
    assert await bus.publish([soon, late]) == [CONFIRMED, CONFIRMED]
    harness.pass_time(1)
    (dead,) = await inbox.take()
    assert (dead.body, dead.routing_key, dead.exchange) == (b"soon", "k", world.dead)
    assert (dead.headers["x-first-death-reason"], dead.headers["mine"]) == ("expired", 1)
    await bus.ack([dead])
    left = await bus.peek(world.work, 10)
    assert bodies(left) == ["late"]
    await bus.ack(left)


async def test_a_message_that_came_back_too_often_is_dead_lettered(harness: Harness, namespace: str) -> None:
    """With a delivery limit of 1 a message is delivered twice, and then dead."""
    world = World(namespace, **{"x-delivery-limit": 1})
    bus, inbox, grave = await harness.bus(world.declarations), Inbox(), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=10)
    await bus.subscribe(world.dead, grave, prefetch=10)
    await bus.publish([world.message("poison")])
    for redelivered in (False, True):
        (got,) = await inbox.take()
        assert got.redelivered is redelivered
        harness.cut()
    (dead,) = await grave.take()
    assert (dead.body, dead.headers["x-first-death-reason"]) == (b"poison", "delivery_limit")
    await bus.ack([dead])
    assert inbox.waiting == []


async def test_peeked_messages_go_back_in_order(harness: Harness, world: World) -> None:
    """`peek` takes from the head up to its limit; released messages are found again in the same order."""
    bus = await harness.bus(world.declarations)
    await bus.publish(world.messages(4))
    for _ in range(3):
        got = await bus.peek(world.work, 10)
        assert bodies(got) == ["0", "1", "2", "3"]
        await bus.release(reversed(got))
    some = await bus.peek(world.work, 2)
    assert bodies(some) == ["0", "1"]
    await bus.ack(some[:1])
    await bus.release(some)  # releasing what was acknowledged does nothing
    left = await bus.peek(world.work, 10)
    assert sorted(bodies(left)) == ["1", "2", "3"]
    await bus.ack(left)
    assert await bus.peek(world.work, 10) == []


async def test_peeking_needs_a_queue_and_a_connection(harness: Harness, world: World) -> None:
    """A queue that does not exist is `NotFound`, a bus without connection is `Unreachable`."""
    bus = await harness.bus(world.declarations)
    with pytest.raises(NotFound, match=r"none"):
        await bus.peek(world.work + ".none", 1)
    await bus.stop()
    with pytest.raises(Unreachable):
        await bus.peek(world.work, 1)


async def test_a_single_active_consumer_has_the_queue_to_itself(harness: Harness, namespace: str) -> None:
    """While one bus consumes, another one subscribed to the same queue waits; then it takes over."""
    world = World(namespace, **{"x-single-active-consumer": True})
    first, second = await harness.bus(world.declarations), await harness.bus(world.declarations)
    active, standby = Inbox(), Inbox()
    subscription = await first.subscribe(world.work, active, prefetch=1)
    await first.publish([world.message("0")])
    await first.ack(await active.take())
    await second.subscribe(world.work, standby, prefetch=10)
    await first.publish(world.messages(20))
    for _ in range(20):
        await first.ack(await active.take())
    assert standby.waiting == []
    await subscription.cancel()
    await first.publish([world.message("next")])
    got = await standby.take()
    assert bodies(got) == ["next"]
    await second.ack(got)


async def test_consumers_of_one_queue_share_its_messages(harness: Harness, world: World) -> None:
    """Two buses on one queue together get each message once."""
    buses = [await harness.bus(world.declarations) for _ in range(2)]
    inboxes = [Inbox(), Inbox()]
    for bus, inbox in zip(buses, inboxes, strict=True):
        await bus.subscribe(world.work, inbox, prefetch=5)
    await buses[0].publish(world.messages(10))
    shares = [await inbox.take(5) for inbox in inboxes]
    assert sorted(bodies(shares[0] + shares[1])) == [str(n) for n in range(10)]
    for bus, share in zip(buses, shares, strict=True):
        await bus.ack(share)


async def test_without_a_connection_nothing_is_confirmed(harness: Harness, world: World) -> None:
    """Before `start` and after `stop` a publish says `UNCONFIRMED` and does not raise."""
    bus = harness.make(world.declarations)
    told = [bus.connected]
    assert await bus.publish(world.messages(2)) == [UNCONFIRMED, UNCONFIRMED]
    await bus.start()
    await bus.wait_connected()
    told.append(bus.connected)
    assert await bus.publish(world.messages(1)) == [CONFIRMED]
    await bus.stop()
    told.append(bus.connected)
    assert await bus.publish(world.messages(1)) == [UNCONFIRMED]
    assert told == [False, True, False]


async def test_a_delivery_ends_with_its_connection(harness: Harness, world: World) -> None:
    """Once the connection is lost, a delivery says that it is not this bus's any more; it comes again."""
    bus, inbox = await harness.bus(world.declarations), Inbox()
    await bus.subscribe(world.work, inbox, prefetch=10)
    await bus.publish(world.messages(1))
    (first,) = await inbox.take()
    assert bus.is_current(first)
    harness.cut()
    (again,) = await inbox.take()
    assert (bus.is_current(first), bus.is_current(again)) == (False, True)
    await bus.ack([again])


async def test_stopping_gives_back_what_was_not_acknowledged(harness: Harness, world: World) -> None:
    """What a stopped bus held goes to the next consumer; stopping twice does no harm."""
    first, inbox = await harness.bus(world.declarations), Inbox()
    await first.subscribe(world.work, inbox, prefetch=10)
    await first.publish(world.messages(3))
    got = await inbox.take(3)
    await first.ack(got[1:2])
    await first.stop()
    await first.stop()
    second, again = await harness.bus(world.declarations), Inbox()
    await second.subscribe(world.work, again, prefetch=10)
    back = await again.take(2)
    assert sorted(bodies(back)) == ["0", "2"]
    await second.ack(back)
