"""Random workflows of the whole language for the machine's property tests, and who is there to do them.

Their expressions read only `input` and what a test makes up itself, so that a test knows how each turns out:
`MISSING` always fails, and an `output` unless the action's answer has `ok`.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from orchestrator.core.registry import Host, Registry
from schemas.workflow import Workflow

__all__ = [
    "APPROVERS",
    "AWAITED",
    "HOSTS",
    "MISSING",
    "POOL",
    "families",
    "inputs",
    "registry",
    "versions",
    "workflows",
]

Fields = dict[str, Any]
Kind = Callable[[st.DrawFn, str], Fields]

AWAITED: Final = "paid"
INNER: Final = "inner"
"""What a random document calls for its child runs."""
APPROVERS: Final = ("ann",)
MISSING: Final = "input.missing"
POOL: Final = ("p1", "p2")
HOSTS: Final = ("w1", "w2", "w3", "w4")
ALL: Final[Fields] = {"labels": {"role": "web"}, "all": True}
TARGETS: Final[tuple[Any, ...]] = ("w1", {"pool": "p"}, {"pool": "p"}, {"labels": {"role": "web"}}, ALL)


def registry(now: int, *, instances: dict[str, str], stopped: frozenset[str] = frozenset()) -> Registry:
    """The agents: web hosts, and the members of a pool; `instances` that differ from `i-1` were made anew."""
    found = Registry(live_for=10**15)
    for name in (*HOSTS, *POOL):
        found.put(
            Host(
                name=name,
                instance_id=instances.get(name, "i-1"),
                labels={"role": "web"} if name in HOSTS else {},
                pools=("p",) if name in POOL else (),
                stopping=name in stopped,
                seen_at=now,
            )
        )
    return found


inputs = st.fixed_dictionaries(
    {
        "go": st.booleans(),
        "items": st.sampled_from(([1, 2, 3], [1, 2], [1, 2, 3, 4], [1], [])),
        "order": st.just(7),
    }
)


def _retry(draw: st.DrawFn) -> Fields:
    return {"attempts": draw(st.integers(1, 3)), "delay": draw(st.sampled_from(("1s", "40s")))}


def _undo(draw: st.DrawFn, target: str | None) -> Fields:
    undo: Fields = {"action": "undo.it", "idempotent": draw(st.booleans()), "retry": _retry(draw)}
    if target is None:
        undo["after_failure"] = draw(st.booleans())
        target = draw(st.sampled_from((None, None, None, "w2")))
    return undo if target is None else {**undo, "target": target}


def _action(draw: st.DrawFn, name: str) -> Fields:
    target = draw(st.sampled_from(TARGETS))
    step: Fields = {
        "action": "do.it",
        "target": target,
        "idempotent": draw(st.booleans()),
        "on_unknown": draw(st.sampled_from(("ask", "ask", "retry", "compensate"))),
    }
    if draw(st.booleans()):
        step["retry"] = _retry(draw)
    if draw(st.integers(0, 9)) == 0:
        step["output"] = {"o": f"${{{{ steps.{name}.output.ok }}}}"}
    if target is ALL and draw(st.integers(0, 3)):
        batch = draw(st.sampled_from((1, 2, "50%")))
        pause = draw(st.sampled_from((None, None, "2m")))
        step["rollout"] = {"batch": batch, "max_failures": draw(st.integers(0, 2))}
        step["rollout"] |= {} if pause is None else {"pause": pause}
    if draw(st.integers(0, 4)):
        step["compensate"] = _undo(draw, None)
    return step


def _child(draw: st.DrawFn, _: str) -> Fields:
    passed = {name: f"${{{{ input.{name} }}}}" for name in ("go", "items", "order")}
    step: Fields = {"workflow": INNER, "with": passed}
    return {**step, "retry": _retry(draw)} if draw(st.booleans()) else step


def _with_undo(draw: st.DrawFn, step: Fields) -> Fields:
    return {**step, "compensate": _undo(draw, "w3")} if draw(st.integers(0, 2)) == 0 else step


def _wait(draw: st.DrawFn, _: str) -> Fields:
    wait: Fields = {"event": AWAITED, "timeout": "30m"}
    if draw(st.booleans()):
        wait["correlate"] = {"from": "event.data.order", "expect": "input.order"}
    if draw(st.booleans()):
        wait["if"] = "event.data.ok"
    return _with_undo(draw, {"wait_for": wait})


def _approve(draw: st.DrawFn, _: str) -> Fields:
    by = list(APPROVERS) if draw(st.booleans()) else []
    on_timeout = draw(st.sampled_from(("reject", "approve")))
    return _with_undo(draw, {"approve": {"by": by, "timeout": "1h", "on_timeout": on_timeout}})


def _sleep(draw: st.DrawFn, _: str) -> Fields:
    return _with_undo(draw, {"sleep": draw(st.sampled_from(("30s", "2m", "${{ input.order }}")))})


def _emit(draw: st.DrawFn, _: str) -> Fields:
    return _with_undo(draw, {"emit": {"type": "live", "data": {"go": "${{ input.go }}"}}})


_KINDS: Final[tuple[Kind, ...]] = (
    *(_action,) * 7, _child, _child, _wait, _wait, _approve, _sleep, _emit,
)  # fmt: skip


_OF_FAMILIES: Final = (_child, _child, _child, _action, _action, _action, _sleep)
_WITHOUT_CHILDREN: Final = (_action, _action, _action, _sleep)


def _step(draw: st.DrawFn, name: str, before: list[str], kinds: tuple[Kind, ...], *, pivot: bool) -> Fields:
    step = {"id": name, **draw(st.sampled_from(kinds))(draw, name)}
    needs = draw(st.none() | st.sets(st.sampled_from(before), max_size=3).map(sorted)) if before else []
    if needs is not None:
        step["needs"] = needs
    if condition := draw(st.sampled_from((*(None,) * 12, "input.go", "input.go", MISSING))):
        step["if"] = condition
    if step.get("target") is not ALL and draw(st.integers(0, 3)) == 0:
        step["foreach"] = draw(st.sampled_from((*("input.items",) * 12, MISSING)))
        if width := draw(st.sampled_from((None, 1, 2))):
            step["max_parallel"] = width
    if policy := draw(st.sampled_from((*(None,) * 6, "continue", "pause"))):
        step["on_failure"] = policy
    return {**step, "pivot": True} if pivot else step


@st.composite
def workflows(
    draw: st.DrawFn, name: str = "random", most: int = 6, kinds: tuple[Kind, ...] = _KINDS
) -> Workflow:
    """A random DAG of up to `most` steps of these kinds, with all modifiers."""
    size = draw(st.sampled_from([one for one in (3, 4, 5, 2, 1, 6) if one <= most]))
    names = [f"s{number}" for number in range(size)]
    pivot = draw(st.none() | st.none() | st.sampled_from(names))
    steps = [_step(draw, one, names[:number], kinds, pivot=one == pivot) for number, one in enumerate(names)]
    document: Fields = {"workflow": name, "steps": steps}
    if draw(st.integers(0, 4)) == 0:
        document["timeout"] = "15m"
    if draw(st.integers(0, 9)) == 0:
        document["output"] = {"x": draw(st.sampled_from(("${{ input.go }}", f"${{{{ {MISSING} }}}}")))}
    return msgspec.convert(document, Workflow)


@st.composite
def families(draw: st.DrawFn) -> list[Workflow]:
    """A workflow, the one that it runs as children, and the one that these run as theirs."""
    top = draw(workflows("top", 4, _OF_FAMILIES))
    middle = draw(workflows("middle", 3, _OF_FAMILIES))
    return [top, middle, draw(workflows("bottom", 3, _WITHOUT_CHILDREN))]


@st.composite
def versions(draw: st.DrawFn, document: Workflow) -> Workflow:
    """Another version of a workflow: a step more, one less, one changed."""
    data = msgspec.to_builtins(document)
    steps: list[Fields] = data["steps"]
    kind = draw(st.sampled_from(("more", "first", "less", "changed")))
    which = draw(st.integers(0, len(steps) - 1))
    free = next(f"n{number}" for number in range(99) if all(one["id"] != f"n{number}" for one in steps))
    new = {"id": free, "action": "do.it", "target": "w4"}
    if kind == "more":
        steps.append(new)
    elif kind == "first":
        steps.insert(0, new)
    elif kind == "less" and len(steps) > 1:
        steps.pop()  # nothing can need the last one
    else:
        steps[which]["if"] = "true"
    return msgspec.convert(data, Workflow)
