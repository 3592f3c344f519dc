"""What starts runs, and how many at once: triggers, schedules, concurrency groups, circles."""

from typing import Any

import pytest

from orchestrator.core.compiler import group_deadlocks, workflow_circles
from orchestrator.core.definition import DebounceDef, Definition, ScheduleDef, ThrottleDef
from tests.support.definitions import SECOND, compile_, do, problem, step

pytestmark = pytest.mark.unit

DAILY = {"cron": "30 2 * * *"}


def test_schedule() -> None:
    """A schedule is in UTC and lets go what it missed, unless it says otherwise; no event matches it."""
    plain, full = compile_(
        step("a"),
        triggers=[
            {"schedule": DAILY},
            {
                "schedule": {"cron": "0 8 * * MON-FRI", "timezone": "Europe/Berlin", "missed": "once"},
                "key": "event.data.scheduled_at",
                "if": "event.id != ''",
                "input": {"at": "${{ event.data.scheduled_at }}"},
            },
        ],
    ).triggers
    assert plain.schedule == ScheduleDef("30 2 * * *", "UTC", catch_up=False)
    assert full.schedule == ScheduleDef("0 8 * * MON-FRI", "Europe/Berlin", catch_up=True)
    assert full.key is not None
    assert full.input is not None
    assert not plain.matches("baton.schedule")
    assert not plain.matches("")


def test_debounce_and_throttle() -> None:
    """Both are lengths of time; a debounce need not have a longest one."""
    one, two, three = compile_(
        step("a"),
        triggers=[
            {"event": "e", "debounce": {"wait": "5s"}},
            {"event": "e", "debounce": {"wait": "5s", "max": "1m"}},
            {"event": "e", "throttle": {"limit": 3, "per": "1h"}},
        ],
    ).triggers
    assert one.debounce == DebounceDef(5 * SECOND, None)
    assert two.debounce == DebounceDef(5 * SECOND, 60 * SECOND)
    assert three.throttle == ThrottleDef(3, 3600 * SECOND)
    assert (one.throttle, three.debounce, one.schedule) == (None, None, None)


@pytest.mark.parametrize(
    ("trigger", "path", "message"),
    [
        ({}, (), "a trigger has an 'event' or a 'schedule'"),
        (
            {"event": "e", "schedule": DAILY},
            ("schedule",),
            "a trigger has an 'event' or a 'schedule', not both",
        ),
        (
            {"schedule": DAILY, "debounce": {"wait": "1s"}},
            ("debounce",),
            "'debounce' is for events, not for a schedule",
        ),
        (
            {"schedule": DAILY, "throttle": {"limit": 1, "per": "1s"}},
            ("throttle",),
            "'throttle' is for events, not for a schedule",
        ),
        ({"schedule": {"cron": "0 0 30 2 *"}}, ("schedule", "cron"), "'0 0 30 2 *' never fires"),
        (
            {"schedule": {"cron": "61 * * * *"}},
            ("schedule", "cron"),
            "'61 * * * *' is not a cron expression: the minute is wrong",
        ),
        (
            {"schedule": {**DAILY, "timezone": "Europe/Berln"}},
            ("schedule", "timezone"),
            "'Europe/Berln' is not a time zone",
        ),
        (
            {"schedule": DAILY, "key": "input.x"},
            ("key",),
            "unknown name 'input'; in scope here: event",
        ),
        (
            {"event": "e", "debounce": {"wait": "0s"}},
            ("debounce", "wait"),
            "a wait of 0 leaves no time at all",
        ),
        (
            {"event": "e", "debounce": {"wait": "5s", "max": "1s"}},
            ("debounce", "max"),
            "max is shorter than wait",
        ),
        (
            {"event": "e", "debounce": {"wait": "5s", "max": "0s"}},
            ("debounce", "max"),
            "max is shorter than wait",
        ),
        (
            {"event": "e", "throttle": {"limit": 1, "per": "0s"}},
            ("throttle", "per"),
            "a per of 0 leaves no time at all",
        ),
        (
            {"event": "e", "throttle": {"limit": 1, "per": "367d"}},
            ("throttle", "per"),
            "'367d' is longer than 366 days",
        ),
    ],
)
def test_bad_triggers(trigger: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    """A trigger is one of two things, and each part of it makes sense; the hint says what to do."""
    found = problem(step("a"), triggers=[{"event": "ok"}, trigger])
    assert found[:2] == (("triggers", 1, *path), message)
    assert found[2] or "in scope here" in message


def test_concurrency() -> None:
    """A group is a template over what is known when a run starts; one run at a time, others queue."""
    assert compile_(step("a")).concurrency is None
    plain = compile_(step("a"), concurrency={"group": "deploy"}).concurrency
    assert plain is not None
    assert (plain.group.render({}), plain.limit, plain.on_conflict) == ("deploy", 1, "queue")
    full = compile_(
        step("a"),
        concurrency={
            "group": "${{ run.workflow }}-${{ input.x }}-${{ event.data.y }}",
            "limit": 3,
            "on_conflict": "cancel_running",
        },
    ).concurrency
    assert full is not None
    scope = {"run": {"workflow": "w"}, "input": {"x": 1}, "event": {"data": {"y": "z"}}}
    assert (full.group.render_text(scope), full.limit, full.on_conflict) == ("w-1-z", 3, "cancel_running")


def test_bad_group() -> None:
    """There are no steps yet when the group is found."""
    path, message, _ = problem(step("a"), concurrency={"group": "${{ steps.a.output }}"})
    assert path == ("concurrency", "group")
    assert message == "unknown name 'steps'; in scope here: event, input, run"


# Circles between workflows


def starting(name: str, *children: str) -> Definition:
    """A workflow that starts these."""
    steps = [do(f"s{i}", workflow=child) for i, child in enumerate(children)]
    return compile_(step("first"), *steps, workflow=name)


def circles(*definitions: Definition) -> list[list[str]]:
    """The circles among definitions."""
    return workflow_circles({one.name: one for one in definitions})


def test_circles() -> None:
    """Each circle is given in order, once; starting one workflow twice is none."""
    a, b, c = starting("a", "b"), starting("b", "c", "c"), starting("c", "a")
    assert circles(a, b, c) == [["a", "b", "c"]]
    assert circles(a, b, starting("c")) == []
    assert circles(starting("a", "b"), starting("b", "a"), starting("x", "y"), starting("y", "x", "a")) == [
        ["a", "b"],
        ["x", "y"],
    ]


def test_circles_need_all_of_them() -> None:
    """A workflow that is not there starts nothing."""
    assert circles(starting("a", "b"), starting("c", "a")) == []
    assert circles() == []


def test_children_in_the_group_of_a_run_above_are_found() -> None:
    """By the shortest way, through workflows in other groups or none; templates say nothing."""

    def grouped(name: str, group: str, *children: str) -> Definition:
        steps = [do(f"s{i}", workflow=child) for i, child in enumerate(children)]
        return compile_(step("first"), *steps, workflow=name, concurrency={"group": group})

    def found(*definitions: Definition) -> list[list[str]]:
        return group_deadlocks({one.name: one for one in definitions})

    c = grouped("c", "g")
    assert found(grouped("a", "g", "c"), c) == [["a", "c"]]
    assert found(grouped("a", "g", "b", "d"), starting("b", "d"), grouped("d", "h", "c"), c) == [
        ["a", "d", "c"]
    ]
    assert found(grouped("a", "h", "c"), c) == []
    assert found(grouped("a", "${{ input.x }}", "c"), grouped("c", "${{ input.x }}")) == []
    assert found(grouped("a", "g", "c")) == []
    assert found(grouped("a", "g", "b"), starting("b", "a")) == [], "that is a circle"
