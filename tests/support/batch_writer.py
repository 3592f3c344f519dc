"""A process that commits an endless, predictable row of batches, to be killed; and what it must leave behind.

Batch n starts run `n`, moves run `n-1` on and ends run `n-2`, whose key run `n` takes; it puts one message
into the outbox and takes out the one before; it leaves an inbox row; it sets the telemetry cursor to n, which
so counts the batches.

    python -m tests.support.batch_writer DATABASE [OPCODES]

It prints each n once that batch is committed. With OPCODES it kills itself once SQLite has carried out so
many operations: in the middle of some statement of some transaction.
"""

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from orchestrator.store.port import Batch, InboxRecord, OutboxMessage
from orchestrator.store.sqlite import SqliteStore
from tests.support.sagas import NOW, Saga

__all__ = ["expected_runs"]

STEP = 10
"""SQLite counts in tens of operations."""


def moves(age: int, saga: Saga, batch: Batch) -> None:
    """What happens to a run that was started `age` batches ago."""
    if age == 0:
        saga.start(batch)
    elif age == 1:
        saga.send(batch)
    elif age == 2:
        saga.end(batch)


def saga_at(number: int, age: int) -> Saga:
    """Run `number` as it is `age` batches after its start; at -1 it has not started."""
    saga = Saga(str(number), key=f"key{number % 2}")
    for past in range(age + 1):
        moves(past, saga, Batch())
    return saga


def expected_runs(batches: int) -> list[Saga]:
    """All runs as they are after that many batches."""
    return [saga_at(number, batches - number) for number in range(1, batches + 1)]


async def write(store: SqliteStore) -> None:
    """Go on from where the store is."""
    number = await store.telemetry_cursor()
    while True:
        number += 1
        batch = Batch(telemetry_cursor=number)
        for age in range(min(3, number)):
            moves(age, saga_at(number - age, age - 1), batch)
        batch.sent = [message.id for message in await store.unsent(0, 100)]
        batch.outbox.append(OutboxMessage(store.next_outbox_id(), "e", "k", b"%d" % number, NOW))
        batch.inbox.append(InboxRecord("source", str(number), "started", NOW, runs=[str(number)]))
        await store.commit(batch)
        os.write(1, b"%d\n" % number)


async def main() -> None:
    """Open, arm, write."""
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    if len(sys.argv) > 2:
        left = int(sys.argv[2]) // STEP

        def count_down() -> int:
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return 0

        def arm(db: sqlite3.Connection) -> None:
            db.set_progress_handler(count_down, STEP)

        await store._db.write(arm)
    await write(store)


if __name__ == "__main__":
    asyncio.run(main())
