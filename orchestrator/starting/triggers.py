"""Which runs an event asks for. Pure: nothing is started here."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.definition import Definition
from orchestrator.core.expressions import ExpressionError

__all__ = ["MAX_KEY", "Refused", "Wanted", "check_input", "check_key", "wanted_by", "wanted_runs"]

MAX_KEY: Final = 512


class Wanted(Struct, frozen=True):
    """An event asks for a run of this definition. An empty key is no key.

    `number`: of the trigger that it fits, counted from 1; 0 for none.
    """

    definition: Definition
    key: str
    input: Any
    number: int = 0


class Refused(Struct, frozen=True):
    """An event asked for a run that cannot be: an expression failed, or the input does not fit."""

    workflow: str
    reason: str


def wanted_runs(
    event_type: str, scope: dict[str, Any], definitions: Iterable[Definition]
) -> list[Wanted | Refused]:
    """What an event asks for, at most one run per workflow: its first trigger that matches decides.

    `scope` is what expressions see as `event`.
    """
    found = (_first_match(event_type, scope, definition) for definition in definitions)
    return [answer for answer in found if answer is not None]


def check_input(definition: Definition, value: Any) -> str:
    """Why `value` cannot be a run's input; empty when it can."""
    return "; ".join(definition.check_input(value))


def check_key(key: str) -> str:
    """Why `key` cannot be a business key; empty when it can."""
    return "" if 0 < len(key) <= MAX_KEY else f"key: has {len(key)} characters, not 1 to {MAX_KEY}"


def wanted_by(definition: Definition, number: int, scope: dict[str, Any]) -> Wanted | Refused | None:
    """What an event asks for by one trigger (counted from 1) whose kind of event it is; None for nothing.

    `scope` is what expressions see as `event`.
    """
    trigger, names = definition.triggers[number - 1], {"event": scope}
    try:
        if trigger.condition is not None and not trigger.condition.evaluate_bool(names):
            return None
        return _wanted(definition, number, names)
    except ExpressionError as error:
        return Refused(definition.name, f"trigger {number}: {error.message}")


def _first_match(event_type: str, scope: dict[str, Any], definition: Definition) -> Wanted | Refused | None:
    for number, trigger in enumerate(definition.triggers, start=1):
        if trigger.matches(event_type) and (found := wanted_by(definition, number, scope)) is not None:
            return found
    return None


def _wanted(definition: Definition, number: int, scope: dict[str, Any]) -> Wanted | Refused:
    trigger = definition.triggers[number - 1]
    key = "" if trigger.key is None else trigger.key.evaluate_text(scope)
    data = scope["event"].get("data")
    value = (data if isinstance(data, dict) else {}) if trigger.input is None else trigger.input.render(scope)
    problem = check_key(key) if trigger.key is not None else ""
    problem = problem or check_input(definition, value)
    return Refused(definition.name, problem) if problem else Wanted(definition, key, value, number)
