"""Random workflow documents, as plain data.

To add a kind of step or a modifier, write a function that gives its fields and put it into its table. A seed
takes the weights as they are, so that most documents hold a few things and some hold many.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec

from schemas.workflow import Workflow

__all__ = ["EMITTED", "EVENT", "SIGNAL", "VALUES", "Cast", "Library", "random_workflows"]

EVENT = "com.example.sim"
"""Events of type `com.example.sim.<workflow>` start a run of it."""

SIGNAL = "com.example.signal"
"""Events that `wait_for` steps wait for; `data.n` is one of `VALUES`."""

EMITTED = "com.example.emitted"
"""Events of type `com.example.emitted.<workflow>`, which `emit` steps publish, may start a run of it."""

VALUES = (1, 2, 3)

SCHEDULE = "14 22 14 11 *"
"""Once while faults happen: at 22:14 on the day of the simulation (`worlds.EPOCH`)."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class Cast:
    """Who there is to do the work. `zones` are values of the agents' label `zone`."""

    agents: tuple[str, ...]
    pools: tuple[str, ...]
    zones: tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """The documents that are there from the start, and other versions that some of them get later."""

    first: list[Workflow]
    later: list[Workflow]


@dataclass
class _Author:
    """One document in the making. `plain`: only what the first version of the language had."""

    rng: Random
    cast: Cast
    names: list[str]
    """All workflows."""
    others: list[str]
    """Workflows that may be run as children."""
    plain: bool
    steps: list[Fields] = field(default_factory=list)

    def chance(self, rate: float) -> bool:
        """Whether something of this likelihood is so."""
        return self.rng.random() < rate

    def pick(self, *choices: Any) -> Any:
        """One of these."""
        return self.rng.choice(choices)


def random_workflows(rng: Random, cast: Cast) -> Library:
    """One to three documents, of which the later ones may be children of the earlier ones."""
    names = [f"w{number}" for number in range(rng.choice((1, 1, 2, 2, 3)))]
    plain = rng.random() < 0.25
    authors = [_Author(rng, cast, names, names[place + 1 :], plain) for place in range(len(names))]
    first = [_document(author, name) for author, name in zip(authors, names, strict=True)]
    later = [
        _next_version(author, document)
        for author, document in zip(authors, first, strict=True)
        if not plain and author.chance(0.4)
    ]
    return Library(*([msgspec.convert(one, Workflow) for one in some] for some in (first, later)))


def _document(author: _Author, name: str) -> Fields:
    """A document of one to six steps: chains, diamonds, forests."""
    for number in range(author.pick(1, 2, 2, 3, 3, 4, 4, 5, 6)):
        author.steps.append(_step(author, f"s{number}"))
    if not author.plain and author.chance(0.2):
        author.pick(*author.steps)["pivot"] = True
    trigger = {"event": f"{EVENT}.{name}", "key": "event.data.key", "input": {"go": "${{ event.data.go }}"}}
    document: Fields = {"workflow": name, "triggers": [trigger], "steps": author.steps}
    if author.chance(0.3):
        document["output"] = {"go": "${{ input.go }}"}
    for rate, modifier in _OF_WORKFLOW:
        if not author.plain and author.chance(rate):
            document |= modifier(author, document)
    return document


def _next_version(author: _Author, document: Fields) -> Fields:
    """The document with one more step, one less, or with one that is another: the last, or any."""
    steps: list[Fields] = list(document["steps"])
    if len(steps) > 1 and author.chance(0.15):
        return document | {"steps": steps[:-1]}
    last = len(steps) - 1
    place = author.pick(last + 1, last + 1, last, author.rng.randint(0, last))
    steps[place : place + 1] = [_step(replace(author, steps=steps[:place]), f"s{place}")]
    return document | {"steps": steps}


def _step(author: _Author, name: str) -> Fields:
    kinds = [(weight, kind) for weight, kind in _KINDS if not author.plain or kind is _action]
    kind = author.rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]
    step: Fields = {"id": name} | kind(author)
    for rate, old, goes_with, modifier in _MODIFIERS:
        fits = goes_with is None or goes_with in step
        if fits and (old or not author.plain) and author.chance(rate):
            step |= modifier(author, step)
    return step


# Kinds of steps


def _action(author: _Author) -> Fields:
    """A command to an agent, a pool, or whoever has a label; of `ask.it` a probe can say what became."""
    return {
        "action": "ask.it" if not author.plain and author.chance(0.5) else "do.it",
        "target": _target(author),
        "with": {"go": "${{ input.go }}"} | ({} if len(author.steps) % 3 == 0 else _SECRET),
        "timeout": author.pick("1s", "3s", "8s"),
    }


_SECRET = {"token": 'Bearer ${{ secret("token") }}'}


def _target(author: _Author) -> Any:
    if author.cast.pools and author.chance(0.25):
        return {"pool": author.pick(*author.cast.pools)}
    if not author.plain and author.chance(0.2):
        return {"labels": {"zone": author.pick(*author.cast.zones) if author.chance(0.9) else "nowhere"}}
    return author.pick(*author.cast.agents) if author.chance(0.97) else "nobody"


def _on_all(author: _Author) -> Fields:
    """A command to every host of a zone, perhaps in batches."""
    fields = _action(author) | {"target": {"labels": {"zone": author.pick(*author.cast.zones)}, "all": True}}
    if author.chance(0.7):
        fields["rollout"] = {"batch": author.pick(1, 2, "50%"), "max_failures": author.pick(0, 0, 1)}
        if author.chance(0.3):
            fields["rollout"]["pause"] = "2s"
    return fields


def _sleep(author: _Author) -> Fields:
    return {"sleep": author.pick("500ms", "3s", '${{ input.go ? "1s" : "2s" }}')}


def _wait_for(author: _Author) -> Fields:
    wait: Fields = {"event": SIGNAL, "timeout": author.pick("3s", "10s", "20s")}
    if author.chance(0.8):
        wait["correlate"] = {"from": "event.data.n", "expect": str(author.pick(*VALUES))}
    if author.chance(0.2):
        wait["if"] = f"event.data.n > {author.pick(0, 1)}"
    return {"wait_for": wait}


def _approve(author: _Author) -> Fields:
    fields: Fields = {"timeout": author.pick("5s", "30s"), "on_timeout": author.pick("reject", "approve")}
    return {"approve": fields | ({"by": ["person"]} if author.chance(0.5) else {})}


def _emit(author: _Author) -> Fields:
    """An event that may start a run of a later workflow; seldom of any, until that is one run too many."""
    meant = author.pick(*(author.names if author.chance(0.2) else author.others or ["nobody"]))
    data = {"go": "${{ input.go }}", "key": author.pick("k0", "${{ run.id }}")}
    return {"emit": {"type": f"{EMITTED}.{meant}", "data": data}}


def _child(author: _Author) -> Fields:
    if not author.others:
        return _action(author)
    return {"workflow": author.pick(*author.others), "with": {"go": "${{ input.go }}"}}


_KINDS: list[tuple[float, Callable[[_Author], Fields]]] = [
    (8.0, _action),
    (1.2, _on_all),
    (0.5, _sleep),
    (1.0, _wait_for),
    (0.7, _approve),
    (0.9, _emit),
    (2.0, _child),
]
"""Weight and fields of each kind."""


# Modifiers of steps


def _needs(author: _Author, step: Fields) -> Fields:
    names = [step["id"] for step in author.steps]
    return {"needs": sorted(author.rng.sample(names, author.rng.randint(0, min(3, len(names)))))}


def _condition(author: _Author, step: Fields) -> Fields:
    return {"if": "input.missing" if author.chance(0.1) else author.pick("input.go", "input.go", "!input.go")}


def _retry(author: _Author, step: Fields) -> Fields:
    delay = author.pick("100ms", "1s", "4s")
    return {"retry": {"attempts": author.rng.randint(1, 4), "delay": delay, "max_delay": "5s"}}


def _compensate(author: _Author, step: Fields) -> Fields:
    undo: Fields = {
        "action": "unask.it" if not author.plain and author.chance(0.5) else "undo.it",
        "with": {} if len(author.steps) % 3 == 1 else _SECRET,
        "timeout": author.pick("1s", "3s", "8s"),
        "retry": {"attempts": author.pick(1, 2, 4), "delay": author.pick("100ms", "1s"), "max_delay": "5s"},
    }
    if author.chance(0.5):
        undo["idempotent"] = True
    if author.chance(0.2):
        undo["after_failure"] = True
    if author.chance(0.1):
        undo["target"] = author.pick(*author.cast.agents)
    return {"compensate": undo}


def _foreach(author: _Author, step: Fields) -> Fields:
    if isinstance(step.get("target"), dict) and step["target"].get("all"):
        return {}
    fields: Fields = {"foreach": author.pick("[1, 2, 3]", "[1, 2]", "[]", "[1, 2, 3, 4, 5]", "input.go")}
    return fields | ({"max_parallel": author.pick(1, 2)} if author.chance(0.6) else {})


_MODIFIERS: list[tuple[float, bool, str | None, Callable[[_Author, Fields], Fields]]] = [
    (0.55, True, None, _needs),
    (0.12, True, None, _condition),
    (0.45, True, "action", lambda author, step: {"idempotent": True}),
    (0.5, True, "action", _retry),
    (0.3, True, "workflow", _retry),
    (0.75, True, "action", _compensate),
    (0.15, False, None, _foreach),
    (0.2, False, None, lambda author, step: {"on_failure": author.pick("continue", "pause")}),
    (0.2, False, "action", lambda author, step: {"on_unknown": author.pick("retry", "compensate")}),
    (0.15, False, "action", lambda author, step: {"start_within": author.pick("2s", "20s")}),
    (0.15, False, None, lambda author, step: {"priority": author.rng.randint(0, 9)}),
]
"""Rate, whether the first version had it, the field it goes with (None: any step), and its fields."""


# Modifiers of workflows


def _by_others(author: _Author, document: Fields) -> Fields:
    """It is started by what `emit` steps publish, too."""
    mine = document["triggers"][0] | {"event": f"{EMITTED}.{document['workflow']}"}
    return {"triggers": [*document["triggers"], mine]}


def _concurrency(author: _Author, document: Fields) -> Fields:
    return {
        "concurrency": {
            "group": author.pick("all", '${{ input.go ? "yes" : "no" }}'),
            "limit": author.pick(1, 1, 2),
            "on_conflict": author.pick("queue", "queue", "reject", "cancel_running"),
        }
    }


def _debounce(author: _Author, document: Fields) -> Fields:
    debounce = {"wait": author.pick("1s", "4s")} | ({"max": "5s"} if author.chance(0.5) else {})
    author.pick(*document["triggers"])["debounce"] = debounce
    return {}


def _throttle(author: _Author, document: Fields) -> Fields:
    throttle = {"limit": author.pick(1, 1, 2), "per": author.pick("3s", "30s")}
    author.pick(*document["triggers"])["throttle"] = throttle
    return {}


def _schedule(author: _Author, document: Fields) -> Fields:
    schedule = {"cron": SCHEDULE, "missed": author.pick("skip", "once")}
    return {"triggers": [*document["triggers"], {"schedule": schedule, "input": {"go": True}}]}


_OF_WORKFLOW: list[tuple[float, Callable[[_Author, Fields], Fields]]] = [
    (0.7, _by_others),
    (0.25, _concurrency),
    (0.15, _debounce),
    (0.2, _throttle),
    (0.15, _schedule),
    (0.1, lambda author, document: {"timeout": author.pick("5s", "15s")}),
    (0.1, lambda author, document: {"priority": author.rng.randint(0, 9)}),
]
"""Rate and fields of each; what it changes is the document so far."""
