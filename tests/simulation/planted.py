"""Bugs planted on purpose, each at the seam where a mistake would be made; the simulation must catch each.

A bug is a context manager. While it is entered, the product is wrong in that one way.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from agents.intake import Intake
from agents.journal import Journal
from agents.redaction import Redactor
from agents.runtime import AgentRuntime
from orchestrator.core import answers, children, going_back, machine, sending
from orchestrator.loop.coordinator import Coordinator
from orchestrator.loop.publisher import DeadLetters, Publisher
from orchestrator.loop.timers import Timers
from orchestrator.starting.groups import GroupsInBatch
from orchestrator.starting.pacing import Pace
from orchestrator.store import sqlite
from orchestrator.store.sqlite import SqliteStore
from runtime.bus.port import Delivery
from schemas import messages

__all__ = ["BUGS", "SEEN_BY", "seen_by"]

Bug = Callable[[], contextlib.AbstractContextManager[Any]]
BUGS: dict[str, Bug] = {}
SEEN_BY: dict[str, tuple[Bug, str]] = {}
"""Bugs that one invariant is about, with its name; those in `BUGS` any may notice."""


def seen_by(invariant: str) -> Callable[[Callable[[], Iterator[None]]], Bug]:
    """Plant a bug that this invariant must see."""

    def add(function: Callable[[], Iterator[None]]) -> Bug:
        bug = contextlib.contextmanager(function)
        SEEN_BY[function.__name__] = (bug, invariant)
        return bug

    return add


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


@seen_by("quiesce_before_undo")
def undo_before_quiesce() -> Iterator[None]:
    """Undos begin while forward steps still run."""
    quiesce = going_back.quiesce

    def impatient(turn: Any) -> bool:
        quiesce(turn)
        return True

    with patch.object(machine, "quiesce", impatient):
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


@seen_by("only_the_outstanding_attempt_counts")
def apply_a_late_result() -> Iterator[None]:
    """A result of an earlier attempt counts."""
    why_ignored = answers._why_ignored

    def lenient(run: Any, result: Any) -> str:
        why = why_ignored(run, result)
        return "" if why in ("not the outstanding attempt", "another attempt") else why

    with patch.object(answers, "_why_ignored", lenient):
        yield


@seen_by("epochs_only_grow")
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
def run_again_what_was_lost() -> Iterator[None]:
    """After a crash an agent runs again what had started, idempotent or not."""
    unsettled = Journal.unsettled

    async def forgetful(self: Journal, *args: Any) -> Any:
        rows = await unsettled(self, *args)
        return [
            row._replace(state="received", started_at=None) if row.state == "started" else row for row in rows
        ]

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


@seen_by("nothing_is_undone_past_the_pivot")
def undo_past_the_pivot() -> Iterator[None]:
    """A passed pivot does not count: a failure after it turns the run round."""

    def never(turn: Any) -> None:
        """Do not notice."""

    with patch.object(machine, "_pass_pivot", never):
        yield


@_bug
def believe_a_rebuilt_agent() -> Iterator[None]:
    """`never_seen` is taken for proof from an agent that was made anew, too."""
    never_seen = answers._on_never_seen

    def trusting(turn: Any, step: Any, task: Any, result: Any) -> None:
        never_seen(turn, step, replace(task, instance="", taken_at=None), result)

    with patch.object(answers, "_on_never_seen", trusting):
        yield


@seen_by("undo_in_reverse_order")
def undo_without_order() -> Iterator[None]:
    """Every effect is undone at once, whatever depends on it."""
    with patch.object(machine, "undo", _undo_all):
        yield


def _undo_all(turn: Any) -> None:
    for step, index, task in turn.tasks():
        if step.kind == "action" and going_back.wants_undo(step, task) and not task.undoing:
            sending.send_undo(turn, step, index)


@_bug
def start_what_was_tombstoned() -> Iterator[None]:
    """An agent runs a command although it had said that it never would."""
    write = Journal.write

    async def forgetful(self: Journal, batch: Any) -> Any:
        known = await write(self, batch)
        return {place: one for place, one in known.items() if not one.tombstone}

    with patch.object(Journal, "write", forgetful):
        yield


@_bug
def let_everybody_into_a_group() -> Iterator[None]:
    """A concurrency group has room for everybody."""
    with patch.object(GroupsInBatch, "must_queue", lambda self, head, limits: False):
        yield


@seen_by("every_run_has_ended")
def forget_the_parent() -> Iterator[None]:
    """A child run that has ended does not tell its parent."""

    def silent(turn: Any, run: Any) -> None:
        """Say nothing."""

    with patch.object(children, "tell_parent", silent):
        yield


@_bug
def forget_to_publish() -> Iterator[None]:
    """Now and then a message is marked as sent that never was."""
    useless = Publisher._is_useless
    calls = count()

    def lazy(self: Publisher, message: Any, now: int) -> bool:
        return useless(self, message, now) or next(calls) % 7 == 6

    with patch.object(Publisher, "_is_useless", lazy):
        yield


@_bug
def throw_away_what_cannot_be_read() -> Iterator[None]:
    """What the coordinator cannot read is acknowledged, and is no dead letter."""

    def put(self: DeadLetters, refused: Any) -> None:
        asyncio.get_running_loop().create_task(self._bus.ack([delivery for delivery, _ in refused]))

    with patch.object(DeadLetters, "put", put):
        yield


@_bug
def acknowledge_before_the_journal() -> Iterator[None]:
    """An agent acknowledges a command before its journal has it."""
    take = AgentRuntime._take

    def hasty(self: AgentRuntime, delivery: Delivery) -> None:
        asyncio.get_running_loop().create_task(self._bus.ack([delivery]))
        take(self, delivery)

    with patch.object(AgentRuntime, "_take", hasty):
        yield


@_bug
def count_no_start() -> Iterator[None]:
    """A throttle forgets now and then that it let a run start."""
    with patch.object(Pace, "count", lambda self, key, throttle, now: None):
        yield


@_bug
def start_again_what_was_debounced() -> Iterator[None]:
    """An event that was debounced goes on waiting when its time has come."""
    with patch.object(Pace, "take", lambda self, one: True):
        yield


@_bug
def run_what_has_expired() -> Iterator[None]:
    """An agent does not look whether a command comes too late."""
    made = Intake._made

    def patient(self: Intake, command: Any, *args: Any) -> Any:
        return made(self, replace(command, expires_at=command.expires_at + timedelta(days=1)), *args)

    with patch.object(Intake, "_made", patient):
        yield


@_bug
def let_secrets_out() -> Iterator[None]:
    """An agent tells what an action gives as it is."""
    with (
        patch.object(Redactor, "text", lambda self, text: text),
        patch.object(Redactor, "value", lambda self, value: value),
    ):
        yield
