"""Bugs planted on purpose, each at the seam where a mistake would be made; the simulation must catch each.

A bug is a context manager. While it is entered, the product is wrong in that one way.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from unittest.mock import patch

from agents.journal import Journal
from agents.runtime import AgentRuntime
from orchestrator.coordinator import Coordinator
from orchestrator.core import answers, machine, sending
from orchestrator.publisher import Publisher
from orchestrator.store import sqlite
from orchestrator.store.sqlite import SqliteStore
from orchestrator.timers import Timers
from runtime.bus.port import Delivery
from schemas import messages

__all__ = ["BUGS"]

Bug = Callable[[], contextlib.AbstractContextManager[Any]]
BUGS: dict[str, Bug] = {}


def _bug(function: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
    BUGS[function.__name__] = contextlib.contextmanager(function)
    return function


@_bug
def skip_the_inbox_check() -> Iterator[None]:
    """An event that comes again is taken for a new one, and the store does not mind."""

    async def nothing(self: SqliteStore, events: Any) -> dict[Any, Any]:
        return {}

    tolerant = {
        **sqlite._WRITE,
        "add_inbox": sqlite._WRITE["add_inbox"].replace("INSERT", "INSERT OR IGNORE"),
    }
    with patch.object(SqliteStore, "seen_events", nothing), patch.object(sqlite, "_WRITE", tolerant):
        yield


@_bug
def acknowledge_before_the_commit() -> Iterator[None]:
    """Deliveries are acknowledged as soon as they are drained."""
    turn = Coordinator._turn

    async def hasty(self: Coordinator, items: Any) -> None:
        await self._bus.ack([item.origin for item in items if isinstance(item.origin, Delivery)])
        await turn(self, items)

    with patch.object(Coordinator, "_turn", hasty):
        yield


@_bug
def undo_before_quiesce() -> Iterator[None]:
    """Undos begin while forward steps still run."""
    quiesce = machine._quiesce

    def impatient(turn: Any) -> bool:
        quiesce(turn)
        return True

    with patch.object(machine, "_quiesce", impatient):
        yield


@_bug
def forget_a_timer() -> Iterator[None]:
    """Now and then a run's wake-up is not kept."""
    set_ = Timers.set
    calls = count()

    def forgetful(self: Timers, run_id: str, at: int | None) -> None:
        set_(self, run_id, None if next(calls) % 5 == 4 else at)

    with patch.object(Timers, "set", forgetful):
        yield


@_bug
def reuse_an_attempt_number() -> Iterator[None]:
    """Every attempt has the id of the first."""
    original = messages.command_id

    def same(run_id: str, step: str, index: int, attempt: int, kind: Any) -> str:
        return original(run_id, step, index, 1, kind)

    with patch.object(sending, "command_id", same):
        yield


@_bug
def apply_a_late_result() -> Iterator[None]:
    """A result of an earlier attempt counts."""
    why_ignored = answers._why_ignored

    def lenient(run: Any, result: Any) -> str:
        why = why_ignored(run, result)
        return "" if why in ("not the outstanding attempt", "another attempt") else why

    with patch.object(answers, "_why_ignored", lenient):
        yield


@_bug
def ignore_the_epoch() -> Iterator[None]:
    """A coordinator that was replaced goes on writing."""
    with patch.object(SqliteStore, "_check_epoch", lambda self, db: None):
        yield


@_bug
def publish_before_the_commit() -> Iterator[None]:
    """The outbox goes out while it is being written."""
    commit = SqliteStore.commit

    async def early(self: Any, batch: Any) -> None:
        publisher = _publishers.get(id(self))
        if publisher is not None:
            publisher.put(batch.outbox)
        await commit(self, batch)

    _publishers: dict[int, Publisher] = {}
    start = Coordinator.start

    async def known(self: Coordinator) -> None:
        _publishers[id(self._store)] = self._publisher
        await start(self)

    with patch.object(SqliteStore, "commit", early), patch.object(Coordinator, "start", known):
        yield


@_bug
def acknowledge_before_the_journal() -> Iterator[None]:
    """An agent acknowledges a command before it has written it down."""
    collect = AgentRuntime._collect
    acks: list[asyncio.Future[None]] = []

    def hasty(self: AgentRuntime) -> Any:
        round_ = collect(self)
        acks.append(asyncio.ensure_future(self._bus.ack(list(round_.intake.accepted))))
        return round_

    with patch.object(AgentRuntime, "_collect", hasty):
        yield


@_bug
def run_again_what_was_lost() -> Iterator[None]:
    """After a crash an agent runs again what had started, idempotent or not."""
    unsettled = Journal.unsettled

    async def forgetful(self: Journal, *args: Any) -> Any:
        rows = await unsettled(self, *args)
        return [row._replace(state="received") if row.state == "started" else row for row in rows]

    with patch.object(Journal, "unsettled", forgetful):
        yield


@_bug
def take_silence_for_failure() -> Iterator[None]:
    """An attempt without an answer is made again instead of being in doubt."""

    def again(turn: Any, step: Any, index: int, why: str) -> None:
        task = turn.task(step, index)
        (sending.send_undo if task.undoing else sending.send)(turn, step, index)

    with patch.object(machine, "doubt", again):
        yield
