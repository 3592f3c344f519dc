"""Dead letters: looked at where they lie, in the queue `<namespace>.dead`, and sent again on demand.

The queue is the truth: a look takes messages from its head and puts them back. A replay publishes a letter to
where it first went, and takes it from the queue only after the broker confirmed that some queue has it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct, structs

from runtime.bus.port import Bus, Delivery, Message, PublishOutcome
from schemas.errors import InvalidInput, NotFound
from schemas.names import REASON_HEADER, Topology
from schemas.times import from_datetime, to_rfc3339

__all__ = ["MAX_LOOK", "DeadLetter", "DeadLetterBox", "DeadLetterList", "NotReplayed", "Replayed"]

MAX_LOOK: Final = 1_000
"""How many letters one call looks at."""

MAX_PREVIEW: Final = 1_024  # bytes
_AT_ONCE: Final = 50  # letters: what is in memory with its body at a time


class DeadLetter(Struct, frozen=True):
    """A message that nobody could handle. `size` in bytes; `preview` is null where it was not asked for.

    `id` is a hash of the letter, good for as long as it lies in the queue. `queue`, `exchange` and
    `routing_key` say where it was when it was refused, `at` when that was.
    """

    id: str
    reason: str
    queue: str
    exchange: str
    routing_key: str
    at: str | None
    size: int
    content_type: str
    preview: str | None = None


class DeadLetterList(Struct, frozen=True):
    """Letters, oldest first. With `more` there were others beyond the `looked_at` that a call looks at."""

    items: list[DeadLetter]
    looked_at: int
    more: bool
    next: None = None


class NotReplayed(Struct, frozen=True):
    """A letter that stays where it is, and why."""

    id: str
    code: str
    message: str


class Replayed(Struct, frozen=True):
    """What a replay did; `more` as in a list."""

    replayed: list[str]
    failed: list[NotReplayed]
    more: bool = False


@dataclass(frozen=True, slots=True)
class _Held:
    """A letter taken from the queue, to be acknowledged or released; its body may be dropped already."""

    letter: DeadLetter
    delivery: Delivery


class DeadLetterBox:
    """The dead letters of one namespace. One call at a time: what one holds, no other sees."""

    def __init__(self, bus: Bus, topology: Topology) -> None:
        self._bus = bus
        self._topology = topology
        self._lock = asyncio.Lock()

    async def letters(self, *, preview: bool = False) -> DeadLetterList:
        """The first `MAX_LOOK` letters. `Unreachable` without a broker."""
        async with self._lock, self._look() as look:
            found = [held.letter async for held in look]
        return _listed(found, preview=preview)

    async def letter(self, letter_id: str) -> DeadLetter:
        """One letter with its preview; `NotFound` when it is not among the first `MAX_LOOK`."""
        async with self._lock, self._look() as look:
            async for held in look:
                if held.letter.id == letter_id:
                    return held.letter
        raise NotFound(f"there is no dead letter {letter_id}", hint="baton dead list shows them")

    async def replay(self, ids: Iterable[str], *, everything: bool = False) -> Replayed:
        """Send these letters to where they first went, or all of the first `MAX_LOOK`; what fails stays."""
        if everything == bool(wanted := list(dict.fromkeys(ids))):
            raise InvalidInput("say which letters: either ids or all", hint='{"ids": […]} or {"all": true}')
        more = False
        if everything:  # fixed beforehand: a letter that dies again at once must not go round for ever
            seen = await self.letters()
            wanted, more = [letter.id for letter in seen.items], seen.more
        replayed: list[str] = []
        failed: list[NotReplayed] = []
        left = set(wanted)
        async with self._lock, self._look() as look:
            async for held in look:
                if held.letter.id in left:
                    left.discard(held.letter.id)
                    problem = await self._send(held)
                    if problem is None:
                        replayed.append(held.letter.id)
                    else:
                        failed.append(problem)
                if not left:
                    break
        failed += [
            NotReplayed(gone, "not_found", "there is no such letter") for gone in wanted if gone in left
        ]
        return Replayed(replayed, failed, more)

    async def _send(self, held: _Held) -> NotReplayed | None:
        """Publish one letter and acknowledge it; or say why not."""
        letter, delivery = held.letter, held.delivery
        if letter.exchange == self._topology.dead:
            return NotReplayed(letter.id, "no_origin", "it was sent to the dead letters by its publisher")
        message = Message(
            exchange=letter.exchange,
            routing_key=letter.routing_key,
            body=delivery.body,
            headers={name: value for name, value in delivery.headers.items() if not name.startswith("x-")},
            content_type=delivery.content_type,
            mandatory=True,
        )
        outcome = (await self._bus.publish([message]))[0]
        if outcome is PublishOutcome.CONFIRMED:
            await self._bus.ack([delivery])
            return None
        if outcome is PublishOutcome.RETURNED:
            where = f"no queue takes '{letter.routing_key}' from the exchange '{letter.exchange}'"
            return NotReplayed(letter.id, "returned", where)
        return NotReplayed(
            letter.id, "unconfirmed", "the broker did not confirm it; it may have it twice now"
        )

    @asynccontextmanager
    async def _look(self) -> AsyncIterator[AsyncIterator[_Held]]:
        """Letters from the head of the queue; all that were not acknowledged are put back at the end."""
        taken: list[Delivery] = []
        try:
            yield self._take(taken)
        finally:
            await self._bus.release(taken)

    async def _take(self, taken: list[Delivery]) -> AsyncIterator[_Held]:
        """Take letters chunk by chunk; what is gone through stays taken, without its body."""
        seen: Counter[str] = Counter()
        while len(taken) < MAX_LOOK + 1:
            size = min(_AT_ONCE, MAX_LOOK + 1 - len(taken))
            chunk = await self._bus.peek(self._topology.dead, size)
            first = len(taken)
            taken.extend(chunk)
            for place, delivery in enumerate(chunk, start=first):
                yield _Held(_letter(delivery, seen), delivery)
                taken[place] = replace(delivery, body=b"")
            if len(chunk) < size:
                return


def _listed(found: list[DeadLetter], *, preview: bool) -> DeadLetterList:
    items = found[:MAX_LOOK]
    if not preview:
        items = [structs.replace(letter, preview=None) for letter in items]
    return DeadLetterList(items, looked_at=len(items), more=len(found) > MAX_LOOK)


def _letter(delivery: Delivery, seen: Counter[str]) -> DeadLetter:
    """A delivery as a letter. Letters alike in everything are told apart by their order."""
    origin = _by_coordinator(delivery) if REASON_HEADER in delivery.headers else _by_broker(delivery)
    content = (*origin.values(), delivery.content_type)
    digest = sha256(repr(content).encode() + delivery.body).hexdigest()[:16]
    seen[digest] += 1
    return DeadLetter(
        id=digest if seen[digest] == 1 else f"{digest}-{seen[digest]}",
        size=len(delivery.body),
        content_type=delivery.content_type,
        preview=delivery.body[:MAX_PREVIEW].decode(errors="replace"),
        **origin,
    )


def _by_coordinator(delivery: Delivery) -> dict[str, Any]:
    """What the coordinator wrote on a message that it refused."""
    headers = delivery.headers
    return {
        "reason": str(headers[REASON_HEADER]),
        "queue": str(headers.get("x-baton-queue", "")),
        "exchange": str(headers.get("x-baton-exchange", delivery.exchange)),
        "routing_key": str(headers.get("x-baton-routing-key", delivery.routing_key)),
        "at": str(headers["x-baton-at"]) if "x-baton-at" in headers else None,
    }


def _by_broker(delivery: Delivery) -> dict[str, Any]:
    """What the broker wrote on a message that it dead-lettered (header `x-death`, newest death first)."""
    deaths = delivery.headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    at, keys = death.get("time"), death.get("routing-keys")
    return {
        "reason": str(death.get("reason", "sent here by its publisher")),
        "queue": str(death.get("queue", "")),
        "exchange": str(death.get("exchange", delivery.exchange)),
        "routing_key": str(keys[0]) if isinstance(keys, list) and keys else delivery.routing_key,
        "at": to_rfc3339(from_datetime(at)) if isinstance(at, datetime) and at.tzinfo else None,
    }
