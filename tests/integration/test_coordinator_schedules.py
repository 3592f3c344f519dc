"""Schedule triggers in the coordinator's loop: on time, once, and after a time away."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.store.port import InboxRecord
from orchestrator.store.starting import StoredSchedule
from schemas.times import from_datetime, to_datetime, to_rfc3339
from tests.support.loop import Loop
from tests.support.waiting import eventually

HOUR = 3_600_000_000


def hourly(missed: str = "skip", cron: str = "0 * * * *", more: str = "") -> str:
    """A workflow that runs by the clock."""
    return f"""
workflow: report
triggers:
  - event: com.example.report
  - schedule: {{cron: "{cron}", missed: {missed}}}
    key: event.data.scheduled_at
    input: {{at: "${{{{ event.time }}}}", kind: "${{{{ event.type }}}}"}}
{more}
steps:
  - {{id: a, action: do.it, target: h1, with: {{at: "${{{{ input.at }}}}"}}}}
"""


async def schedule(loop: Loop) -> StoredSchedule:
    """The one schedule, as it is stored."""
    (one,) = await loop.store.schedules()
    return one


async def skip_to(loop: Loop, at: int, seconds: float = 0) -> None:
    """Let the clock go on to a time, and so many seconds past it."""
    loop.world.skip((at - loop.world.now()) / 1_000_000 + seconds)


async def moved(loop: Loop, before: StoredSchedule) -> StoredSchedule:
    """The schedule, once it has another time."""

    async def look() -> StoredSchedule | None:
        found = await loop.store.schedules()
        return found[0] if found and found[0].next_at != before.next_at else None

    return await eventually(look, what="the schedule to move on", every=0.005)


async def events(loop: Loop) -> list[InboxRecord]:
    """What the inbox has, oldest first."""
    return (await loop.reader.inbox(limit=1_000)).items[::-1]


async def test_it_starts_at_its_time_and_goes_on(tmp_path: Path) -> None:
    """A run like one of an event: key and input from a made-up event with the planned time."""
    async with Loop(tmp_path) as loop:
        await loop.apply(hourly())
        first = await schedule(loop)
        assert first.next_at > loop.world.now()
        assert loop.commands == []
        await skip_to(loop, first.next_at)
        command = await loop.command()
        planned = to_rfc3339(first.next_at)
        assert command.args == {"at": planned}
        run = await loop.run(command.run_id)
        assert run.head.key == planned
        assert run.head.event is not None
        assert run.head.event["source"] == "/baton/baton/report"
        assert run.head.event["id"] == f"report/2/{planned}"
        assert run.head.input == {"at": planned, "kind": "baton.schedule"}
        second = await schedule(loop)
        assert second.next_at == first.next_at + HOUR
        (record,) = await events(loop)
        assert (record.outcome, record.runs) == ("started", [command.run_id])
        await skip_to(loop, second.next_at)
        assert (await loop.command()).args == {"at": to_rfc3339(second.next_at)}


async def test_a_crash_starts_it_neither_twice_nor_never(tmp_path: Path) -> None:
    """Before its time, at its time, after it: there is one run for each time."""
    async with Loop(tmp_path) as loop:
        await loop.apply(hourly())
        first = await schedule(loop)
        await loop.crash()
        await loop.start()
        assert await schedule(loop) == first
        await loop.crash()
        await skip_to(loop, first.next_at, 1)
        await loop.start()
        command = await loop.command()
        await loop.crash()
        await loop.start()
        second = await schedule(loop)
        assert second.next_at == first.next_at + HOUR
        await skip_to(loop, second.next_at)
        assert (await loop.command()).run_id != command.run_id
        assert len(await events(loop)) == 2


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("once", 1)])
async def test_what_was_missed_while_down(tmp_path: Path, missed: str, runs: int) -> None:
    """None, or one for all of them; and the next one is in the future."""
    async with Loop(tmp_path) as loop:
        await loop.apply(hourly(missed))
        first = await schedule(loop)
        await loop.crash()
        await skip_to(loop, first.next_at, 5 * 3600 + 600)
        await loop.start()
        later = await moved(loop, first)
        assert later.next_at == first.next_at + 6 * HOUR
        assert [record.id for record in await events(loop)] == [
            f"report/2/{to_rfc3339(first.next_at)}" for _ in range(runs)
        ]
        await skip_to(loop, later.next_at)
        await moved(loop, later)
        assert len(await events(loop)) == runs + 1


async def test_a_jump_of_the_clock_is_a_time_away(tmp_path: Path) -> None:
    """While it runs, too: what lies in between was missed."""
    async with Loop(tmp_path) as loop:
        await loop.apply(hourly("once"))
        first = await schedule(loop)
        await skip_to(loop, first.next_at, 48 * 3600 + 600)
        later = await moved(loop, first)
        assert later.next_at == first.next_at + 49 * HOUR
        assert len(await events(loop)) == 1


async def test_a_clock_set_back_starts_nothing_twice(tmp_path: Path) -> None:
    """The times come again, but their runs have been; those that have not been, are."""
    async with Loop(tmp_path, reconcile_every=0.05) as loop:
        await loop.apply(hourly())
        first = await schedule(loop)
        for _ in range(2):
            before = await schedule(loop)
            await skip_to(loop, before.next_at)
            await moved(loop, before)
        assert len(await events(loop)) == 2
        last = await schedule(loop)
        loop.world.skip(-90 * 60)  # between the first and the hour before it
        again = await moved(loop, last)
        assert again.next_at == first.next_at
        for _ in range(3):
            before = await schedule(loop)
            await skip_to(loop, before.next_at)
            await moved(loop, before)
        assert [record.id for record in await events(loop)] == [
            f"report/2/{to_rfc3339(first.next_at + n * HOUR)}" for n in range(3)
        ]


async def test_a_new_version_replaces_the_schedules(tmp_path: Path) -> None:
    """An unchanged one keeps its time; a changed one is planned anew; one left out is gone."""
    async with Loop(tmp_path) as loop:
        await loop.apply(hourly())
        first = await schedule(loop)
        await loop.apply(hourly("once", more="description: changed"))
        assert await schedule(loop) == first
        tomorrow = to_datetime(loop.world.now()) + timedelta(days=1)
        await loop.apply(hourly(cron=f"{tomorrow.minute} {tomorrow.hour} {tomorrow.day} * *"))
        day = datetime(
            tomorrow.year, tomorrow.month, tomorrow.day, tomorrow.hour, tomorrow.minute, tzinfo=UTC
        )
        assert (await schedule(loop)).next_at == from_datetime(day)
        await loop.apply("workflow: report\nsteps: [{id: a, action: do.it, target: h1}]\n")
        assert await loop.store.schedules() == []
        await skip_to(loop, first.next_at, 86_400 * 2)
        await loop.apply(hourly())
        assert (await schedule(loop)).next_at > loop.world.now()
        assert await events(loop) == []


async def test_the_rest_of_the_trigger_counts_too(tmp_path: Path) -> None:
    """`if` can refuse a time; an input that does not fit is `rejected`, and the schedule goes on."""
    never = hourly().replace("    key:", "    if: event.data.scheduled_at == ''\n    key:")
    async with Loop(tmp_path) as loop:
        await loop.apply(never)
        first = await schedule(loop)
        await skip_to(loop, first.next_at)
        await moved(loop, first)
        assert [record.outcome for record in await events(loop)] == ["no_trigger"]
        await loop.apply(hourly(more="input: {required: [more]}"))
        second = await schedule(loop)
        await skip_to(loop, second.next_at)
        await moved(loop, second)
        assert [record.outcome for record in await events(loop)] == ["no_trigger", "rejected"]


async def test_a_schedule_whose_workflow_cannot_be_read_is_gone(tmp_path: Path) -> None:
    """Else it would be due for ever; it is there again when the workflow is."""
    async with Loop(tmp_path) as loop:
        await loop.apply(hourly())
        first = await schedule(loop)
        loop.coordinator.definitions.current.clear()
        await skip_to(loop, first.next_at)

        async def gone() -> bool | None:
            return None if await loop.store.schedules() else True

        await eventually(gone, what="the schedule to be gone", every=0.005)
        await loop.crash()
        await loop.start()

        async def back() -> bool | None:
            return True if await loop.store.schedules() else None

        await eventually(back, what="the schedule to be back", every=0.005)
        assert (await schedule(loop)).next_at == first.next_at + HOUR
