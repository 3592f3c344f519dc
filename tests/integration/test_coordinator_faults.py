"""Faults of our own in the coordinator's loop, and what must stop it; bus in memory, real database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator.core.inputs import Wake
from orchestrator.core.model import RunStatus
from orchestrator.loop import coordinator as coordinator_module
from orchestrator.loop import loading
from orchestrator.loop.handlers import handle
from orchestrator.loop.intake import EventReceived, InputForRun, ResultArrived, SignalArrived, StartRun
from orchestrator.store.port import Batch
from runtime.bus.port import Delivery
from runtime.sqlite import StorageFailure
from schemas.errors import Conflict, InternalError
from schemas.names import REASON_HEADER
from tests.support.loop import EVENT, PLAIN, TOPOLOGY, Loop, data, works
from tests.support.waiting import until


@pytest.fixture
async def loop(tmp_path: Path) -> AsyncIterator[Loop]:
    """One that knows the workflow `plain`."""
    async with Loop(tmp_path) as running:
        await running.apply(PLAIN)
        yield running


def failing(real: Callable[..., Any], fails: Callable[..., bool]) -> tuple[Callable[..., Any], list[Any]]:
    """The function, raising where `fails` says so, and the list of those calls."""
    calls: list[Any] = []

    def patched(*args: Any) -> Any:
        if fails(*args):
            calls.append(args)
            raise ZeroDivisionError("poison")
        return real(*args)

    return patched, calls


# Faults of ours cost one message


async def test_a_message_that_breaks_its_handler_costs_itself_only(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set aside with the reason; what came in the same batch is handled, and all later."""

    def is_poison(_: Any, content: Any, __: Any) -> bool:
        return isinstance(content, EventReceived) and content.event.id == "poison"

    patched, _ = failing(handle, is_poison)
    monkeypatch.setattr(coordinator_module, "handle", patched)
    ids = ["before", "poison", "behind"]
    await asyncio.gather(*(loop.event(EVENT, data(key), event_id=key) for key in ids))
    [letter] = await loop.letters(1)
    assert letter.headers[REASON_HEADER] == "internal_error: ZeroDivisionError: poison"
    assert letter.headers["x-baton-queue"] == TOPOLOGY.events_inbox
    assert b'"poison"' in letter.body
    assert sorted(record.id for record in await loop.inbox(2)) == ["before", "behind"]
    assert {(await loop.command()).step for _ in range(2)} == {"a"}
    assert loop.waiting(TOPOLOGY.events_inbox) == 0


@pytest.mark.parametrize(
    ("module", "where"), [(loading, "match_event"), (coordinator_module, "read_delivery")]
)
async def test_a_message_that_breaks_what_comes_before_its_handler(
    module: ModuleType, where: str, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it, or looking for whom it starts, fails in a way nobody foresaw: the same."""

    def is_poison(what: Any, *_: Any) -> bool:
        return "poison" in (what.body.decode() if isinstance(what, Delivery) else what.id)

    patched, _ = failing(getattr(module, where), is_poison)
    monkeypatch.setattr(module, where, patched)
    await loop.event(EVENT, data(), event_id="poison")
    [letter] = await loop.letters(1)
    assert letter.headers[REASON_HEADER] == "internal_error: ZeroDivisionError: poison"
    await works(loop)


async def test_a_result_that_breaks_its_handler_can_be_replayed(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run waits, and goes on once the fault is mended and the letter sent again."""

    def is_poison(_: Any, content: Any, __: Any) -> bool:
        return isinstance(content, ResultArrived)

    await loop.event(EVENT, data())
    asked = await loop.command()
    with monkeypatch.context() as patch:
        patched, _ = failing(handle, is_poison)
        patch.setattr(coordinator_module, "handle", patched)
        await loop.answer(asked)
        [letter] = await loop.letters(1)
    assert (await loop.run(asked.run_id)).status is RunStatus.RUNNING
    headers = letter.headers
    await loop.send(headers["x-baton-exchange"], headers["x-baton-routing-key"], letter.body)
    assert (await loop.command()).step == "b"


async def test_a_run_whose_waking_fails_does_not_keep_the_loop_busy(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again after a while, not at once; its results are still taken."""

    def is_poison(_: Any, content: Any, __: Any) -> bool:
        return isinstance(content, InputForRun) and isinstance(content.given, Wake)

    patched, calls = failing(handle, is_poison)
    monkeypatch.setattr(coordinator_module, "handle", patched)
    await loop.event(EVENT, data())
    asked = await loop.command()
    loop.world.skip(3_600)
    await until(lambda: calls, what="the run's time to come")
    await loop.answer(asked)
    assert (await loop.command()).step == "b"
    assert len(calls) == 1


async def test_a_request_that_breaks_its_handler_is_answered(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked through the API gets an error, and the next one an answer."""

    def is_poison(_: Any, content: Any, __: Any) -> bool:
        return isinstance(content, StartRun) and content.key == "poison"

    patched, _ = failing(handle, is_poison)
    monkeypatch.setattr(coordinator_module, "handle", patched)
    with pytest.raises(InternalError, match="failed to handle"):
        await loop.coordinator.submit(StartRun("plain", "poison", {"size": 1}))
    assert await loop.coordinator.submit(StartRun("plain", "good", {"size": 1}))


async def test_a_signal_whose_delivery_breaks_comes_again(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays stored, and is tried again after a while; what else happens goes on meanwhile."""
    monkeypatch.setattr(coordinator_module, "FAULT_SECONDS", 0.05)
    await loop.apply("workflow: outer\nsteps: [{id: kid, workflow: plain, with: {size: 1}}]\n")
    left = 3

    def is_poison(_: Any, content: Any, __: Any) -> bool:
        nonlocal left
        left -= isinstance(content, SignalArrived)
        return isinstance(content, SignalArrived) and left >= 0

    patched, calls = failing(handle, is_poison)
    monkeypatch.setattr(coordinator_module, "handle", patched)
    outer = await loop.coordinator.submit(StartRun("outer"))
    for _ in range(2):
        await loop.answer(await loop.command())
    await until(lambda: len(calls) == 3, what="the signal to come again")
    await loop.status(outer, "succeeded")
    assert await loop.store.stranded(10) == []


# What stops the coordinator


async def test_a_full_disk_stops_the_coordinator_and_nothing_is_acknowledged(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent, the event waits on the broker, and the next life takes it up."""

    async def full(_: Batch) -> None:
        raise StorageFailure("cannot use baton.db: database or disk is full", hint="make room")

    monkeypatch.setattr(loop.store, "commit", full)
    await loop.event(EVENT, data())
    with pytest.raises(StorageFailure, match="disk is full"):
        await asyncio.wait_for(loop.running, 10)
    assert loop.commands == []
    await loop.crash()
    assert loop.waiting(TOPOLOGY.events_inbox) == 1
    await loop.start()
    await loop.answer(await loop.command())
    assert [record.outcome for record in await loop.inbox(1)] == ["started"]


async def test_a_stopping_coordinator_answers_whoever_waits(loop: Loop) -> None:
    """No request is left without an answer."""
    loop.coordinator.stop()
    await asyncio.wait_for(loop.running, 10)
    with pytest.raises(Conflict, match="stopping"):
        await loop.coordinator.submit(StartRun("plain"))
