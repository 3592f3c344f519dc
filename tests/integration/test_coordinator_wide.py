"""A step as wide as may be does not keep the coordinator from other runs."""

from pathlib import Path

import pytest

from orchestrator.core.model import StepStatus
from orchestrator.loop.intake import StartRun
from tests.support.loop import Loop
from tests.support.waiting import until

pytestmark = pytest.mark.integration

WIDE = """
workflow: wide
input: {type: object}
steps:
  - {id: each, foreach: "input.items", emit: {type: it.is, data: "${{ item }}"}}
"""
SMALL = """
workflow: small
steps:
  - {id: a, action: do.it, target: h1}
"""


async def test_another_run_is_done_while_a_wide_step_is_under_way(tmp_path: Path) -> None:
    """Ten thousand events are published in turns with whatever else there is to do."""
    async with Loop(tmp_path) as loop:
        loop.reply = lambda _: "succeeded"
        await loop.apply(WIDE)
        await loop.apply(SMALL)
        wide = await loop.coordinator.submit(StartRun("wide", "", {"items": list(range(10_000))}))
        small = await loop.coordinator.submit(StartRun("small"))
        done = await loop.status(small, "succeeded")
        await until(lambda: loop.coordinator._live.active == 0, within=60, what="the wide run to end")
        ended = await loop.run(wide)
        assert done.ended_at is not None
        assert ended.ended_at is not None
        assert done.ended_at < ended.ended_at
        assert all(task.status is StepStatus.SUCCEEDED for task in ended.steps["each"])


async def test_a_wide_step_goes_on_after_a_crash(tmp_path: Path) -> None:
    """A life that ends between two of its moves leaves the rest to the next one; each item is done once."""
    async with Loop(tmp_path) as loop:
        await loop.apply(WIDE)
        loop.break_commit(3, written=True)
        wide = await loop.coordinator.submit(StartRun("wide", "", {"items": list(range(2_000))}))
        await until(loop.running.done, what="the coordinator to be gone")
        await loop.crash()
        await loop.start()
        run = await loop.status(wide, "succeeded")
        attempts = {task.attempt for task in run.steps["each"]}
        assert attempts == {1}
        assert run.seq == 2 * 2_000 + 3 + 4  # started, expanded, ended; and four times there was more to do
