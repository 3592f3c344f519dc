"""What starts runs, and how many may be under way: triggers and concurrency groups."""

from typing import Final

from orchestrator.core.compiler.checks import Checks, View
from orchestrator.core.cron import check_cron, check_timezone
from orchestrator.core.definition import (
    ConcurrencyDef,
    DebounceDef,
    Path,
    ScheduleDef,
    ThrottleDef,
    TriggerDef,
)
from schemas.errors import InvalidInput
from schemas.workflow import Concurrency, Debounce, Schedule, Throttle, Trigger

__all__ = ["compile_concurrency", "compile_trigger"]

_TRIGGER: Final = View(frozenset({"event"}))
_GROUP: Final = View(frozenset({"event", "input", "run"}))


def compile_trigger(checks: Checks, trigger: Trigger, path: Path) -> TriggerDef:
    """A trigger, which is an event or a schedule; what is wrong with it is recorded."""
    _check_kind(checks, trigger, path)
    return TriggerDef(
        event=trigger.event or "",
        condition=checks.expression(trigger.if_, (*path, "if"), _TRIGGER, "bool"),
        key=checks.expression(trigger.key, (*path, "key"), _TRIGGER, "text"),
        input=None if trigger.input is None else checks.template(trigger.input, (*path, "input"), _TRIGGER),
        schedule=_schedule(checks, trigger.schedule, (*path, "schedule")),
        debounce=_debounce(checks, trigger.debounce, (*path, "debounce")),
        throttle=_throttle(checks, trigger.throttle, (*path, "throttle")),
    )


def compile_concurrency(checks: Checks, concurrency: Concurrency | None) -> ConcurrencyDef | None:
    """The concurrency group of the workflow's runs, if it has one."""
    if concurrency is None:
        return None
    group = checks.template(concurrency.group, ("concurrency", "group"), _GROUP)
    return ConcurrencyDef(group, concurrency.limit, concurrency.on_conflict)


def _check_kind(checks: Checks, trigger: Trigger, path: Path) -> None:
    if trigger.schedule is None:
        if trigger.event is None:
            checks.problem(path, "a trigger has an 'event' or a 'schedule'", "add one of them")
        return
    if trigger.event is not None:
        message = "a trigger has an 'event' or a 'schedule', not both"
        checks.problem((*path, "schedule"), message, "make a trigger of its own of it")
        return
    for name in ("debounce", "throttle"):
        if getattr(trigger, name) is not None:
            message = f"'{name}' is for events, not for a schedule"
            checks.problem((*path, name), message, "leave it out, or let the schedule be a rarer one")


def _schedule(checks: Checks, schedule: Schedule | None, path: Path) -> ScheduleDef | None:
    if schedule is None:
        return None
    for name, check in (("cron", check_cron), ("timezone", check_timezone)):
        try:
            check(getattr(schedule, name))
        except InvalidInput as error:
            checks.problem((*path, name), error.message, error.hint)
    return ScheduleDef(schedule.cron, schedule.timezone, schedule.missed == "once")


def _debounce(checks: Checks, debounce: Debounce | None, path: Path) -> DebounceDef | None:
    if debounce is None:
        return None
    wait = checks.time_limit(debounce.wait, (*path, "wait"), 1, "leave debounce out, and every event counts")
    longest = None if debounce.max is None else checks.duration(debounce.max, (*path, "max"), wait)
    if longest is not None and longest < wait:
        checks.problem((*path, "max"), "max is shorter than wait", "make it as long or longer")
    return DebounceDef(wait, longest)


def _throttle(checks: Checks, throttle: Throttle | None, path: Path) -> ThrottleDef | None:
    if throttle is None:
        return None
    per = checks.time_limit(throttle.per, (*path, "per"), 1, "leave throttle out, and every event counts")
    return ThrottleDef(throttle.limit, per)
