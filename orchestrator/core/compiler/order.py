"""The order of a document's steps: who needs whom, and what came surely before."""

from dataclasses import dataclass, field

from orchestrator.core.compiler.checks import Checks
from orchestrator.core.graph import closure, cycles, reverse
from schemas.workflow import Step

__all__ = ["Order", "order_of"]


@dataclass(frozen=True, slots=True)
class Order:
    """Of each step: what it needs, everything before it and everything after it.

    `upstream` lacks what stands on or behind a circle, and `dependents` is empty when there is a circle.
    """

    needs: dict[str, tuple[str, ...]]
    upstream: dict[str, frozenset[str]]
    dependents: dict[str, frozenset[str]] = field(default_factory=dict)


def order_of(checks: Checks) -> Order:
    """Find the order; record ids that come twice, needs that are wrong, and circles."""
    for i, step in enumerate(checks.steps):
        if checks.ids[step.id] != i:
            checks.problem(("steps", i, "id"), f"a second step with the id '{step.id}'", "ids must differ")
    _check_pivot(checks)
    needs = {}
    for i, step in enumerate(checks.steps):
        found = _needs(checks, step, i)
        if checks.ids[step.id] == i:
            needs[step.id] = found
    upstream = closure(needs)
    if len(upstream) == len(needs):
        return Order(needs, upstream, closure(reverse(needs)))
    for circle in cycles(needs):
        names = " -> ".join((*circle, circle[0]))
        path = ("steps", checks.ids[circle[0]], "needs")
        checks.order_problem(path, f"steps need each other in a circle: {names}", "let one of them go first")
    return Order(needs, upstream)


def _needs(checks: Checks, step: Step, index: int) -> tuple[str, ...]:
    """What the step needs, none twice; by default the step above."""
    if step.needs is None:
        above = checks.steps[index - 1].id if index else step.id
        return () if above == step.id else (above,)
    known = []
    for i, needed in enumerate(step.needs):
        path = ("steps", index, "needs", i)
        if needed == step.id:
            checks.problem(path, f"step '{needed}' needs itself", "leave it out")
        elif needed not in checks.ids:
            checks.problem(path, f"unknown step '{needed}'", checks.suggestion(needed))
        else:
            known.append(needed)
    return tuple(dict.fromkeys(known))


def _check_pivot(checks: Checks) -> None:
    """Refuse a second step past which nothing is undone."""
    pivots = [(i, step.id) for i, step in enumerate(checks.steps) if step.pivot]
    for i, _ in pivots[1:]:
        message = f"a second pivot: '{pivots[0][1]}' is one already"
        checks.problem(("steps", i, "pivot"), message, "a run has one point of no return; keep one")
