"""Random workflow documents, as plain data.

To add a kind of step or a modifier, write a function that gives its fields and put it into its table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from schemas.workflow import Workflow

__all__ = ["EVENT", "Cast", "random_workflow"]

EVENT = "com.example.sim"
"""Events of type `com.example.sim.<workflow>` start a run of it."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class Cast:
    """Who there is to do the work."""

    agents: tuple[str, ...]
    pools: tuple[str, ...]


def random_workflow(rng: Random, name: str, cast: Cast) -> Workflow:
    """A document of one to six steps in a random order: chains, diamonds, forests."""
    steps: list[Fields] = []
    for number in range(rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6))):
        step: Fields = {"id": f"s{number}"}
        for rate, modifier in _MODIFIERS:
            if rng.random() < rate:
                step |= modifier(rng, cast, steps)
        step = _pick(rng, _KINDS)(rng, cast, steps) | step
        steps.append(step)
    document: Fields = {
        "workflow": name,
        "triggers": [
            {"event": f"{EVENT}.{name}", "key": "event.data.key", "input": {"go": "${{ event.data.go }}"}}
        ],
        "steps": steps,
    }
    if rng.random() < 0.3:
        document["output"] = {"go": "${{ input.go }}"}
    return msgspec.convert(document, Workflow)


def _pick(rng: Random, table: list[tuple[float, Any]]) -> Any:
    """One entry of a table of (weight, entry)."""
    return rng.choices([entry for _, entry in table], [weight for weight, _ in table])[0]


# Kinds of steps


def _action(rng: Random, cast: Cast, steps: list[Fields]) -> Fields:
    """A command to an agent or a pool, with an undo more often than not."""
    fields: Fields = {
        "action": "do.it",
        "target": _target(rng, cast),
        "with": {"go": "${{ input.go }}"},
        "timeout": rng.choice(("1s", "3s", "8s")),
    }
    if rng.random() < 0.75:
        fields["compensate"] = _undo(rng, cast)
    return fields


def _target(rng: Random, cast: Cast) -> Any:
    if cast.pools and rng.random() < 0.25:
        return {"pool": rng.choice(cast.pools)}
    return rng.choice(cast.agents) if rng.random() < 0.97 else "nobody"


def _undo(rng: Random, cast: Cast) -> Fields:
    undo: Fields = {
        "action": "undo.it",
        "timeout": rng.choice(("1s", "3s", "8s")),
        "retry": {"attempts": rng.choice((1, 2, 4)), "delay": rng.choice(("100ms", "1s")), "max_delay": "5s"},
    }
    if rng.random() < 0.5:
        undo["idempotent"] = True
    if rng.random() < 0.2:
        undo["after_failure"] = True
    if rng.random() < 0.1:
        undo["target"] = rng.choice(cast.agents)
    return undo


_KINDS: list[tuple[float, Callable[[Random, Cast, list[Fields]], Fields]]] = [(1.0, _action)]


# Modifiers of any step


def _needs(rng: Random, cast: Cast, steps: list[Fields]) -> Fields:
    names = [step["id"] for step in steps]
    return {"needs": sorted(rng.sample(names, rng.randint(0, min(3, len(names)))))}


def _condition(rng: Random, cast: Cast, steps: list[Fields]) -> Fields:
    return {"if": rng.choice(("input.go", "input.go", "!input.go", "input.missing"))}


def _idempotent(rng: Random, cast: Cast, steps: list[Fields]) -> Fields:
    return {"idempotent": True}


def _retry(rng: Random, cast: Cast, steps: list[Fields]) -> Fields:
    delay = rng.choice(("100ms", "1s", "4s"))
    return {"retry": {"attempts": rng.randint(1, 4), "delay": delay, "max_delay": "5s"}}


_MODIFIERS: list[tuple[float, Callable[[Random, Cast, list[Fields]], Fields]]] = [
    (0.55, _needs),
    (0.12, _condition),
    (0.45, _idempotent),
    (0.5, _retry),
]
