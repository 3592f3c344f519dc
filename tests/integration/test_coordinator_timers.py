"""Wake-ups in the coordinator's loop: nobody can hold one up, and old ones take no room."""

from pathlib import Path

import pytest

from orchestrator.core.inputs import CancelRun
from orchestrator.loop.intake import InputForRun
from orchestrator.loop.timers import SPARE, Timers
from schemas.errors import Conflict
from tests.support.loop import EVENT, PLAIN, Loop, data
from tests.support.waiting import eventually


async def test_a_refused_request_does_not_put_off_a_wake_up(tmp_path: Path) -> None:
    """Somebody who cancels over and over must not keep a retry from its time."""
    async with Loop(tmp_path) as loop:
        await loop.apply(PLAIN.replace("attempts: 1", "attempts: 2, delay: 1h"))
        await loop.event(EVENT, data())
        first = await loop.command()
        await loop.answer(first)
        await loop.answer(await loop.command(), "failed")
        await loop.answer(await loop.command(), "failed")

        async def waiting() -> int | None:
            run = await loop.run(first.run_id)
            return run.wake_at if run.steps["a"][0].undo_error is not None else None

        at = await eventually(waiting, what="the undo's retry to be due")
        loop.world.skip((at - loop.world.now()) / 1_000_000 - 0.7)
        with pytest.raises(Conflict):
            await loop.coordinator.submit(InputForRun(first.run_id, CancelRun(who="me", reason="again")))
        assert loop.coordinator._live.timers.at(first.run_id) == at


def test_wake_ups_that_were_replaced_take_no_room() -> None:
    """A command's time limit may be days ahead; most are answered long before."""
    timers = Timers()
    for at in range(10 * SPARE):
        timers.set("run", at)
    assert len(timers._heap) <= SPARE + 2
    assert timers.next_at() == 10 * SPARE - 1
