"""A step as wide as may be does not keep the coordinator from other runs."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.core.model import StepStatus
from orchestrator.loop.intake import StartRun
from orchestrator.store.port import Batch
from tests.support.loop import EVENT, PLAIN, Loop, data
from tests.support.waiting import eventually, until

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


async def test_a_batch_that_takes_long_to_decide_is_cut(tmp_path: Path) -> None:
    """With no time at all each batch decides one thing, in the order in which they came; none is lost."""
    async with Loop(tmp_path, max_batch_seconds=0.0) as loop:
        taken: list[list[str]] = []
        commit = loop.store.commit

        async def counted(batch: Batch) -> None:
            taken.append([record.id for record in batch.inbox if record.kind == "event"])
            await commit(batch)

        loop.store.commit = counted  # type: ignore[method-assign]
        loop.reply = lambda _: "succeeded"
        await loop.apply(PLAIN)
        ids = [f"e{number}" for number in range(50)]
        await asyncio.gather(*(loop.event(EVENT, data(key=one), event_id=one) for one in ids))

        async def all_done() -> bool | None:
            runs = await loop.runs()
            return (len(runs) == 50 and all(run.status == "succeeded" for run in runs)) or None

        await eventually(all_done, 30, what="the end of all runs")
        assert max(map(len, taken)) == 1
        assert [one for batch in taken for one in batch] == ids
