"""Schedules: when they are due, what was missed, and what the clock may do meanwhile."""

from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.core.definition import Definition, ScheduleDef
from orchestrator.document import read_workflow
from orchestrator.starting.schedules import (
    LATE,
    Schedules,
    SchedulesInBatch,
    plan,
    schedule_event,
    step_on,
)
from orchestrator.store.starting import StartingChanges, StoredSchedule
from schemas.times import from_rfc3339, to_rfc3339

MINUTE = 60_000_000


def at(text: str) -> int:
    """A time of 2026 in UTC, `MM-DD hh:mm[:ss]`."""
    day, _, clock = text.partition(" ")
    return from_rfc3339(f"2026-{day}T{clock if clock.count(':') > 1 else f'{clock}:00'}Z")


def shown(time: int | None) -> str:
    """A time as `at` takes it, with seconds."""
    return "" if time is None else to_rfc3339(time)[5:19].replace("T", " ")


def workflow(*triggers: str, name: str = "w") -> Definition:
    """A workflow with these triggers."""
    lines = "\n".join(f"  - {trigger}" for trigger in triggers)
    text = f"workflow: {name}\ntriggers:\n{lines}\nsteps: [{{id: a, action: x.y, target: h}}]\n"
    return read_workflow(text.encode(), "test.yaml")


def cron(expression: str, **more: Any) -> str:
    """A schedule trigger."""
    rest = "".join(f", {name}: {value}" for name, value in more.items())
    return f'schedule: {{cron: "{expression}"{rest}}}'


def due(when: str, expression: str = "0 * * * *", zone: str = "UTC") -> StoredSchedule:
    """A schedule of workflow `w` that is due at that time."""
    return StoredSchedule("w", 1, expression, zone, at(when))


SKIP = ScheduleDef("", "", catch_up=False)
ONCE = ScheduleDef("", "", catch_up=True)


def test_a_new_definition_is_planned_from_now() -> None:
    """Each schedule trigger has its number and its next time; other triggers have none."""
    definition = workflow("event: a.b", cron("30 * * * *"), cron("0 3 * * *", timezone="Europe/Berlin"))
    assert plan(definition, (), at("07-01 10:10")) == (
        StoredSchedule("w", 2, "30 * * * *", "UTC", at("07-01 10:30")),
        StoredSchedule("w", 3, "0 3 * * *", "Europe/Berlin", at("07-02 01:00")),
    )
    assert plan(workflow("event: a.b"), (), 0) == ()


def test_an_unchanged_schedule_keeps_its_time() -> None:
    """Also one that is overdue, wherever it stands now; a changed one is planned anew."""
    known = (due("07-01 09:00"), due("07-01 11:00", "0 11 * * *"))
    definition = workflow("event: a.b", cron("0 * * * *"), cron("0 12 * * *"))
    planned = plan(definition, known, at("07-01 10:10"))
    assert [(one.number, shown(one.next_at)) for one in planned] == [
        (2, "07-01 09:00:00"),
        (3, "07-01 12:00:00"),
    ]


def test_a_clock_set_back_brings_the_next_time_nearer() -> None:
    """What was planned while the clock was a year ahead does not stay a year away."""
    far = replace(due("07-01 11:00"), next_at=at("07-01 11:00") + 365 * 1440 * MINUTE)
    (planned,) = plan(workflow(cron("0 * * * *")), (far,), at("07-01 10:10"))
    assert shown(planned.next_at) == "07-01 11:00:00"


@pytest.mark.parametrize("how", [SKIP, ONCE])
def test_what_is_due_starts_and_moves_on_by_one(how: ScheduleDef) -> None:
    """Up to LATE afterwards it is not missed."""
    for late in (0, LATE):
        starts, next_at = step_on(due("07-01 10:00"), how, at("07-01 10:00") + late)
        assert (starts, shown(next_at)) == (True, "07-01 11:00:00")


@pytest.mark.parametrize(("how", "starts"), [(SKIP, False), (ONCE, True)])
def test_what_was_missed_is_passed_over_all_at_once(how: ScheduleDef, starts: bool) -> None:  # noqa: FBT001
    """After hours away: no run or one, and the next one is in the future."""
    assert step_on(due("07-01 02:00"), how, at("07-01 10:10")) == (starts, at("07-01 11:00"))
    assert step_on(due("07-01 10:00"), how, at("07-01 10:00") + LATE + 1) == (starts, at("07-01 11:00"))


def test_what_is_due_just_now_is_not_missed_with_the_others() -> None:
    """Every minute, five minutes away: four are missed, the last one starts as ever."""
    schedule = due("07-01 10:01", "* * * * *")
    starts, next_at = step_on(schedule, SKIP, at("07-01 10:05:10"))
    assert (starts, shown(next_at)) == (False, "07-01 10:05:00")
    starts, next_at = step_on(replace(schedule, next_at=next_at or 0), SKIP, at("07-01 10:05:10"))
    assert (starts, shown(next_at)) == (True, "07-01 10:06:00")


def test_a_schedule_that_never_comes_again_is_gone() -> None:
    """Nor one whose trigger is gone."""
    assert step_on(due("07-01 10:00"), None, at("07-01 10:00")) == (False, None)
    batch, changes = in_batch(due("07-01 10:00"))
    assert not batch.take(due("07-01 10:00"), None, at("07-01 10:00"))
    assert changes.schedules == {"w": ()}


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("expression", "before", "times"),
    [
        # 2026-03-29: 02:00 to 03:00 does not exist in Berlin. A fixed time in it is as the gap ends.
        ("30 2 * * *", "03-28 00:00", ["03-28 01:30:00", "03-29 01:00:00", "03-30 00:30:00"]),
        ("*/30 * * * *", "03-29 00:10", ["03-29 00:30:00", "03-29 01:00:00", "03-29 01:30:00"]),
        # 2026-10-25: 02:00 to 03:00 comes twice. A fixed time in it counts once.
        ("30 2 * * *", "10-24 12:00", ["10-25 00:30:00", "10-26 01:30:00"]),
        (
            "*/30 * * * *",
            "10-24 23:50",
            ["10-25 00:00:00", "10-25 00:30:00", "10-25 01:00:00", "10-25 01:30:00", "10-25 02:00:00"],
        ),
    ],
)
def test_when_summer_time_begins_and_ends(expression: str, before: str, times: list[str]) -> None:
    """A night's job runs once in each of these nights; what goes by real time goes on by real time."""
    (schedule,) = plan(workflow(f'schedule: {{cron: "{expression}", timezone: {BERLIN}}}'), (), at(before))
    found = []
    for _ in times:
        found.append(shown(schedule.next_at))
        starts, next_at = step_on(schedule, SKIP, schedule.next_at + 1)
        assert starts
        schedule = replace(schedule, next_at=next_at or 0)
    assert found == times


def test_the_event_of_a_schedule() -> None:
    """Named by workflow, trigger and time: the same time twice is the same event."""
    event = schedule_event(replace(due("07-01 10:00"), number=3), "prod")
    assert (event.source, event.type) == ("/baton/prod/w", "baton.schedule")
    assert event.id == "w/3/2026-07-01T10:00:00.000000Z"
    assert event.time == "2026-07-01T10:00:00.000000Z"
    assert event.data == {"scheduled_at": event.time}


def in_batch(*known: StoredSchedule) -> tuple[SchedulesInBatch, StartingChanges]:
    """A batch on top of these schedules of `w`, and what it changes."""
    changes = StartingChanges()
    return SchedulesInBatch(lambda _: known, changes), changes


def test_a_batch_moves_a_schedule_once() -> None:
    """Who comes second finds it moved."""
    definition, now = workflow(cron("0 * * * *"), cron("5 * * * *")), at("07-01 10:00:01")
    first, second = due("07-01 10:00"), StoredSchedule("w", 2, "5 * * * *", "UTC", at("07-01 10:05"))
    batch, changes = in_batch(first, second)
    assert batch.take(first, definition, now)
    assert not batch.take(first, definition, now)
    assert changes.schedules == {"w": (due("07-01 11:00"), second)}


def test_a_replaced_schedule_is_not_brought_back() -> None:
    """The definition was applied in the same batch, before its old schedule's turn."""
    batch, changes = in_batch(due("07-01 10:00"))
    batch.apply(workflow(cron("0 12 * * *")), at("07-01 10:00:01"))
    assert not batch.take(due("07-01 10:00"), workflow(cron("0 12 * * *")), at("07-01 10:00:01"))
    assert [one.cron for one in changes.schedules["w"]] == ["0 12 * * *"]


def test_applying_what_is_applied_changes_nothing() -> None:
    """And writes nothing."""
    batch, changes = in_batch(due("07-01 11:00"))
    batch.apply(workflow(cron("0 * * * *")), at("07-01 10:10"))
    assert not changes


def test_the_nearest_schedule_and_those_that_are_due() -> None:
    """Over all workflows, soonest first; what is committed takes the place of what was."""
    schedules = Schedules()
    assert schedules.due(0) == []
    other = replace(due("07-01 09:30"), workflow="v")
    schedules.load([due("07-01 10:00"), other])
    assert schedules.next_at == other.next_at
    assert schedules.due(at("07-01 09:00")) == []
    assert schedules.due(at("07-01 10:00")) == [other, due("07-01 10:00")]
    schedules.commit({"v": ()})
    assert schedules.next_at == at("07-01 10:00")


def test_schedules_out_of_step() -> None:
    """Those that a clock that was set back has left too far ahead, and those that are missing."""
    schedules, now = Schedules(), at("07-01 10:10")
    schedules.load([due("07-01 09:00"), replace(due("08-01 11:00"), workflow="far")])
    in_step, far = workflow(cron("0 * * * *")), workflow(cron("0 * * * *"), name="far")
    new, none = workflow(cron("0 * * * *"), name="new"), workflow("event: a.b", name="none")
    assert schedules.out_of_step([in_step, far, new, none], now) == [far, new]
