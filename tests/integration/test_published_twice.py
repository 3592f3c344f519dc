"""What the coordinator perhaps published before it was killed: a second copy proves nothing of the first."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.core.facts import AttemptFailed
from orchestrator.store.port import OutboxMessage
from runtime.bus.port import Message
from schemas.codec import encode
from schemas.names import AGAIN_HEADER
from tests.support.loop import EVENT, PLAIN, TOPOLOGY, Loop, data
from tests.support.waiting import eventually


@pytest.fixture
async def loop(tmp_path: Path) -> AsyncIterator[Loop]:
    """One that knows the workflow `plain`."""
    async with Loop(tmp_path) as running:
        await running.apply(PLAIN)
        yield running


async def test_rule_7_a_command_that_was_perhaps_taken_is_never_called_expired(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before it noted that the command was sent, back too late: the agent may be at it."""
    monkeypatch.setattr(loop.coordinator._publisher, "_done", lambda _: None)
    await loop.event(EVENT, data())
    command = await loop.command()
    await loop.crash()
    loop.world.skip(70)
    await loop.start()

    async def sent_again() -> bool:
        return not await loop.store.unsent(0, 1)

    await eventually(sent_again, what="the outbox to be empty")
    await loop.answer(command)
    await loop.answer(await loop.command())
    await loop.status(command.run_id, "succeeded")
    assert not [e for e in await loop.history(command.run_id) if isinstance(e.fact, AttemptFailed)]


async def test_rule_7_a_second_copy_that_expires_on_the_broker_proves_nothing(loop: Loop) -> None:
    """The first may have been taken; the attempt stays outstanding."""
    await loop.event(EVENT, data())
    command = await loop.command()
    headers = {"x-death": [{"reason": "expired", "queue": TOPOLOGY.agent_queue("h1")}], AGAIN_HEADER: True}
    await loop.agent.publish([Message(TOPOLOGY.dead, "agent.h1", encode(command), headers)])
    await loop.letters(1)
    await loop.answer(command)
    await loop.command()
    assert not [e for e in await loop.history(command.run_id) if isinstance(e.fact, AttemptFailed)]


async def test_only_what_was_certainly_never_sent_is_too_late(loop: Loop) -> None:
    """A late command is dropped, unless its agent may know it: then that one is asked."""
    publisher = loop.coordinator._publisher
    command = OutboxMessage(1, TOPOLOGY.commands, "agent.h1", b"{}", at=0, expires_at=60_000_000)
    assert not publisher._is_useless(command, 59_000_000)
    assert publisher._is_useless(command, 60_000_000)
    assert publisher._wire(command, 59_000_000).expiration == 1.0
    publisher._perhaps_sent.add(1)
    assert not publisher._is_useless(command, 61_000_000)
    wire = publisher._wire(command, 61_000_000)
    assert (wire.expiration, wire.headers) == (60.0, {AGAIN_HEADER: True})
