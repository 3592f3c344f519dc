"""Debounce and throttle in the coordinator's loop, and what a crash leaves of them."""

from pathlib import Path
from typing import Any

from orchestrator.store.port import InboxRecord
from tests.support.loop import EVENT, Loop
from tests.support.waiting import eventually


def paced(how: str, more: str = "") -> str:
    """A workflow whose one trigger has a debounce or a throttle, by customer."""
    return f"""
workflow: sync
triggers:
  - {{event: {EVENT}, key: event.data.customer, input: {{n: "${{{{ event.data.n }}}}"}}, {how}}}
{more}
steps:
  - {{id: a, action: do.it, target: h1, with: {{n: "${{{{ input.n }}}}"}}}}
"""


DEBOUNCE = paced("debounce: {wait: 10s, max: 25s}")
THROTTLE = paced("throttle: {limit: 2, per: 1m}").replace("key: event.data.customer, ", "")


async def event(loop: Loop, number: int, customer: str = "c") -> InboxRecord:
    """Event number so-and-so; returns what became of it first."""
    await loop.event(EVENT, {"customer": customer, "n": number}, event_id=str(number))
    return await record(loop, number)


async def record(loop: Loop, number: int, wanted: str = "") -> InboxRecord:
    """What became of an event, once it is that."""

    async def look() -> InboxRecord | None:
        for one in (await loop.reader.inbox(limit=1_000)).items:
            if one.id == str(number) and wanted in ("", one.outcome):
                return one
        return None

    return await eventually(look, what=f"event {number} in the inbox, {wanted}", every=0.005)


async def finish(loop: Loop) -> Any:
    """Let the next command succeed; returns its argument."""
    command = await loop.command()
    await loop.answer(command)
    await loop.status(command.run_id, "succeeded")
    return command.args["n"]


async def test_only_the_last_event_starts_a_run(tmp_path: Path) -> None:
    """When nothing has come for the time; the earlier ones stay `debounced`, the last one is `started`."""
    async with Loop(tmp_path) as loop:
        await loop.apply(DEBOUNCE)
        for number in (1, 2, 3):
            found = await event(loop, number)
            assert found.outcome == "debounced"
            assert "until" in found.reason
            loop.world.skip(5)
        assert loop.commands == []
        loop.world.skip(5)
        command = await loop.command()
        assert command.args == {"n": 3}
        settled = await record(loop, 3, "started")
        assert settled.runs == [command.run_id]
        assert (await record(loop, 2)).outcome == "debounced"
        run = await loop.run(command.run_id)
        assert run.head.key == "c"
        assert run.head.event is not None
        assert run.head.event["id"] == "3"
        assert await loop.store.next_debounced() is None


async def test_at_the_latest_after_max(tmp_path: Path) -> None:
    """Events that never stop do not keep the run away."""
    async with Loop(tmp_path) as loop:
        await loop.apply(DEBOUNCE)
        for number in range(1, 5):
            await event(loop, number)
            loop.world.skip(7)
        command = await loop.command()
        assert command.args == {"n": 4}
        loop.world.skip(1)
        assert (await event(loop, 5)).outcome == "debounced"


async def test_each_key_waits_by_itself(tmp_path: Path) -> None:
    """One customer's events do not put off another's."""
    async with Loop(tmp_path) as loop:
        await loop.apply(DEBOUNCE)
        await event(loop, 1, "a")
        loop.world.skip(6)
        await event(loop, 2, "b")
        loop.world.skip(4.5)
        assert await finish(loop) == 1
        assert (await record(loop, 2)).outcome == "debounced"
        loop.world.skip(6)
        assert await finish(loop) == 2


async def test_a_debounce_survives_a_crash(tmp_path: Path) -> None:
    """It fires in the next life, at once if its time came meanwhile; and once."""
    async with Loop(tmp_path) as loop:
        await loop.apply(DEBOUNCE)
        await event(loop, 1)
        await loop.crash()
        await loop.start()
        assert (await event(loop, 2)).outcome == "debounced"
        await loop.crash()
        loop.world.skip(60)
        await loop.start()
        assert await finish(loop) == 2
        await loop.crash()
        await loop.start()
        assert await loop.store.next_debounced() is None
        assert len(loop.commands) == 1


async def test_a_debounced_event_does_not_wait_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    """What came in what is now the future fires at once, instead of hours late."""
    async with Loop(tmp_path) as loop:
        loop.world.skip(36_000)
        await loop.apply(DEBOUNCE)
        await event(loop, 1)
        loop.world.skip(-36_000)
        assert await finish(loop) == 1


async def test_a_debounced_event_whose_key_is_taken(tmp_path: Path) -> None:
    """It is a duplicate, as an event that comes then would be."""
    async with Loop(tmp_path) as loop:
        await loop.apply(DEBOUNCE)
        await event(loop, 1)
        loop.world.skip(11)
        command = await loop.command()
        await event(loop, 2)
        loop.world.skip(11)
        settled = await record(loop, 2, "duplicate")
        assert settled.runs == [command.run_id]
        assert command.run_id in settled.reason


async def test_a_new_version_runs_what_waited(tmp_path: Path) -> None:
    """With the input that the trigger gave, which must fit the new schema."""
    async with Loop(tmp_path) as loop:
        await loop.apply(DEBOUNCE)
        await event(loop, 1)
        await event(loop, 2, "other")
        await loop.apply(paced("debounce: {wait: 1h}", "input: {properties: {n: {maximum: 1}}}"))
        loop.world.skip(11)
        assert await finish(loop) == 1
        assert "n" in (await record(loop, 2, "rejected")).reason


async def test_what_waits_for_a_workflow_that_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    """It does not wait for ever, and does not vanish without a word."""
    async with Loop(tmp_path) as loop:
        await loop.apply(DEBOUNCE)
        await event(loop, 1)
        loop.coordinator.definitions.current.clear()
        loop.world.skip(11)
        assert "cannot be read" in (await record(loop, 1, "rejected")).reason
        assert await loop.store.next_debounced() is None


async def test_debounced_events_wait_for_room(tmp_path: Path) -> None:
    """A flood of keys that come due together does not go past the limit on active runs."""
    async with Loop(tmp_path, max_active_runs=2) as loop:
        await loop.apply(DEBOUNCE)
        for number in range(5):
            await event(loop, number, f"c{number}")
        loop.world.skip(11)
        done: list[int] = []
        for _ in range(5):
            command = await loop.command()
            assert len(loop.commands) - len(done) <= 2
            await loop.answer(command)
            await loop.status(command.run_id, "succeeded")
            done.append(command.args["n"])
        assert sorted(done) == list(range(5))


async def test_no_more_than_so_many_in_a_time(tmp_path: Path) -> None:
    """Further events are `throttled`; when the time is over, the next one starts; also after a crash."""
    async with Loop(tmp_path) as loop:
        await loop.apply(THROTTLE)
        for number, outcome in ((1, "started"), (2, "started"), (3, "throttled")):
            found = await event(loop, number)
            assert found.outcome == outcome
        assert "2 runs" in found.reason
        await loop.crash()
        await loop.start()
        loop.world.skip(30)
        assert (await event(loop, 4)).outcome == "throttled"
        loop.world.skip(31)
        assert (await event(loop, 5)).outcome == "started"
        assert (await event(loop, 6)).outcome == "started"
        assert (await event(loop, 7)).outcome == "throttled"


async def test_events_of_one_batch_are_throttled_too(tmp_path: Path) -> None:
    """What a batch has started counts for the rest of it."""
    async with Loop(tmp_path) as loop:
        await loop.apply(THROTTLE)
        for number in range(6):
            await loop.event(EVENT, {"customer": "c", "n": number}, event_id=str(number))
        outcomes = [one.outcome for one in await loop.inbox(6)]
        assert sorted(outcomes) == ["started"] * 2 + ["throttled"] * 4


async def test_a_duplicate_does_not_count(tmp_path: Path) -> None:
    """A throttle counts runs, not events."""
    async with Loop(tmp_path) as loop:
        await loop.apply(paced("throttle: {limit: 2, per: 1m}"))
        assert [(await event(loop, n)).outcome for n in range(3)] == ["started", "duplicate", "duplicate"]
        await finish(loop)
        assert [(await event(loop, n)).outcome for n in range(3, 5)] == ["started", "duplicate"]
        await finish(loop)
        assert (await event(loop, 5)).outcome == "throttled"


async def test_both_on_one_trigger(tmp_path: Path) -> None:
    """What is left of a burst is throttled when it comes due."""
    async with Loop(tmp_path) as loop:
        await loop.apply(paced("debounce: {wait: 10s}, throttle: {limit: 1, per: 1h}"))
        await event(loop, 1)
        loop.world.skip(11)
        assert await finish(loop) == 1
        await event(loop, 2)
        loop.world.skip(11)
        assert (await record(loop, 2, "throttled")).runs == []


async def test_old_starts_are_forgotten(tmp_path: Path) -> None:
    """They take no room for good."""
    async with Loop(tmp_path, reconcile_every=0.05) as loop:
        await loop.apply(THROTTLE)
        await event(loop, 1)
        now, keys = loop.world.now(), [(("sync", 1, ""), 10**12)]
        assert await loop.store.throttled_starts(keys, now) == {("sync", 1, ""): 1}
        loop.world.skip(61)

        async def gone() -> bool | None:
            left = (await loop.store.throttled_starts(keys, now))[("sync", 1, "")]
            return True if left == 0 else None

        await eventually(gone, what="the start to be forgotten")
