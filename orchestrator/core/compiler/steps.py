"""From a step to its `StepDef`."""

from typing import Any, Final, Literal

import msgspec

from orchestrator.core.compiler.checks import NOTHING, Checks, View, on_all
from orchestrator.core.compiler.kinds import check_fields, kind_of, parts_of
from orchestrator.core.compiler.order import Order
from orchestrator.core.definition import Path, RetryPolicy, RolloutDef, StepDef, StepKind, Target, UndoDef
from orchestrator.core.templates import Template
from schemas.errors import InvalidInput
from schemas.names import check_name
from schemas.times import Micros
from schemas.workflow import Compensate, Retry, Rollout, Selector, Step, Workflow

__all__ = ["STEP_SCOPE", "compile_step", "output_template"]

STEP_SCOPE: Final = frozenset({"event", "input", "steps", "run"})

_SECOND: Final[Micros] = 1_000_000
_TIMEOUT: Final[Micros] = 600 * _SECOND
_FORWARD: Final = RetryPolicy(attempts=1, delay=_SECOND, backoff=2.0, max_delay=30 * _SECOND)
_FORWARD_IDEMPOTENT: Final = RetryPolicy(attempts=3, delay=_SECOND, backoff=2.0, max_delay=30 * _SECOND)
_UNDO: Final = RetryPolicy(attempts=10, delay=2 * _SECOND, backoff=2.0, max_delay=300 * _SECOND)

_AT_ONCE: Final = 1_000
"""How many items of a `foreach` are under way at once, unless it says."""


def compile_step(checks: Checks, document: Workflow, index: int, order: Order) -> StepDef:
    """Step number `index` of the document, ready to run; what is wrong with it is recorded."""
    step = document.steps[index]
    path: Path = ("steps", index)
    kind = kind_of(checks, step, path)
    check_fields(checks, step, kind, path)
    _check_own_name(checks, step, document.workflow, path)
    whole, one, given, own = _views(step, order.upstream.get(step.id, frozenset(checks.ids)))
    forward = _FORWARD_IDEMPOTENT if step.idempotent else _FORWARD
    return StepDef(
        id=step.id,
        index=index,
        kind=kind,
        needs=order.needs.get(step.id, ()),
        upstream=whole.steps,
        dependents=order.dependents.get(step.id, frozenset()),
        condition=checks.expression(step.if_, (*path, "if"), whole, "bool"),
        args=checks.template(step.with_, (*path, "with"), given, secrets=kind == "action"),
        timeout=checks.time_limit(step.timeout, (*path, "timeout"), _TIMEOUT, "leave it out for 10m"),
        start_within=checks.optional_limit(step.start_within, (*path, "start_within"), "leave it out for 1m"),
        retry=_retry(checks, step.retry, (*path, "retry"), forward),
        idempotent=step.idempotent,
        compensate=None
        if step.compensate is None
        else _undo(checks, step.compensate, (*path, "compensate"), own.plus("failure")),
        output=output_template(checks, step.output, (*path, "output"), own),
        priority=document.priority if step.priority is None else step.priority,
        target=_step_target(checks, step, kind, path, one),
        foreach=checks.expression(step.foreach, (*path, "foreach"), whole, "list"),
        max_parallel=None if step.foreach is None else step.max_parallel or _AT_ONCE,
        rollout=_rollout(checks, step, path),
        pivot=step.pivot,
        on_failure=step.on_failure,
        on_unknown=step.on_unknown,
        **parts_of(checks, step, kind, path, one),
    )


def _views(step: Step, before: frozenset[str]) -> tuple[View, View, View, View]:
    """What is seen by the step as a whole, by one of its tasks, by what that one is given, and once done."""
    whole = View(STEP_SCOPE, before)
    one = whole if step.foreach is None else whole.plus("item")
    given = one.plus("host") if on_all(step) else one
    return whole, one, given, View(given.names, before | {step.id})


def output_template(checks: Checks, output: Any, path: Path, view: View) -> Template | None:
    """The template of an output; None when the document has none, which `output: null` is not."""
    return None if output is msgspec.UNSET else checks.template(output, path, view)


def _check_own_name(checks: Checks, step: Step, name: str, path: Path) -> None:
    if step.workflow == name:
        hint = "it would never end; name another workflow"
        checks.problem((*path, "workflow"), f"workflow '{name}' starts itself", hint)


def _undo(checks: Checks, undo: Compensate, path: Path, view: View) -> UndoDef:
    if isinstance(undo.target, Selector) and undo.target.all:
        hint = "leave 'all' out: each host's effect is undone by itself"
        checks.problem((*path, "target", "all"), "an undo has one target", hint)
    return UndoDef(
        action=undo.action,
        args=checks.template(undo.with_, (*path, "with"), view, secrets=True),
        target=None if undo.target is None else _target(checks, undo.target, (*path, "target"), view),
        timeout=checks.time_limit(undo.timeout, (*path, "timeout"), _TIMEOUT, "leave it out for 10m"),
        start_within=checks.optional_limit(undo.start_within, (*path, "start_within"), "leave it out for 1m"),
        retry=_retry(checks, undo.retry, (*path, "retry"), _UNDO),
        idempotent=undo.idempotent,
        after_failure=undo.after_failure,
    )


# Targets


def _step_target(checks: Checks, step: Step, kind: StepKind, path: Path, view: View) -> Target | None:
    """The target of an action, which must have one; other steps have none."""
    if step.target is not None:
        return _target(checks, step.target, (*path, "target"), view)
    if kind == "action" and step.action is not None:
        hint = "name an agent, {pool: …} or {labels: {…}}"
        checks.problem((*path, "target"), "missing field 'target'", hint)
    return None


def _target(checks: Checks, target: str | Selector, path: Path, view: View) -> Target:
    if isinstance(target, str):
        return _named(checks, "agent", target, path, view)
    if target.pool is None and target.labels is None:
        checks.problem(path, "a target has a 'pool' or 'labels'", "add one of them")
    if target.pool is not None and target.labels is not None:
        message = "a target has a 'pool' or 'labels', not both"
        checks.problem((*path, "labels"), message, "keep one of them")
    if target.all and target.labels is None:
        message = "'all' goes with labels"
        checks.problem((*path, "all"), message, "say which hosts: {labels: {role: web}, all: true}")
    if target.labels is None:
        return _named(checks, "pool", target.pool or "", (*path, "pool"), view)
    labels = checks.template(target.labels, (*path, "labels"), view)
    return Target("all" if target.all else "labels", labels)


def _named(checks: Checks, kind: Literal["agent", "pool"], name: str, path: Path, view: View) -> Target:
    """An agent or a pool by its name, which is checked now when it holds no expression."""
    template = checks.template(name, path, view)
    if name and template.is_constant and template is not NOTHING:
        try:
            check_name(template.render_text({}), f"{kind} name")
        except InvalidInput as error:
            checks.problem(path, error.message, error.hint)
    return Target(kind, template)


# How often, how many at a time


def _rollout(checks: Checks, step: Step, path: Path) -> RolloutDef | None:
    """The portions of a fan-out over hosts, which has some even if the document does not say which."""
    rollout = step.rollout
    if not on_all(step):
        if rollout is not None:
            hint = "say which hosts: target: {labels: {role: web}, all: true}"
            checks.problem((*path, "rollout"), "'rollout' goes with a target with 'all'", hint)
        return None
    if step.foreach is not None:
        message = "'foreach' does not go with a target with 'all'"
        checks.problem((*path, "foreach"), message, "choose one; a child workflow can do the other")
    return RolloutDef() if rollout is None else _portions(checks, rollout, (*path, "rollout"))


def _portions(checks: Checks, rollout: Rollout, path: Path) -> RolloutDef:
    batch = rollout.batch
    if batch is None and rollout.pause is not None:
        message = "'pause' is between batches, and there is one batch of all"
        checks.problem((*path, "pause"), message, "say how large one is: batch: 25%")
    return RolloutDef(
        batch=batch if isinstance(batch, int) else None,
        percent=int(batch.removesuffix("%")) if isinstance(batch, str) else None,
        pause=checks.duration(rollout.pause, (*path, "pause"), 0),
        max_failures=rollout.max_failures,
    )


def _retry(checks: Checks, retry: Retry | None, path: Path, default: RetryPolicy) -> RetryPolicy:
    """The policy; of an unset pair of delays the one gives way to the other that is set."""
    if retry is None:
        return default
    delay = checks.duration(retry.delay, (*path, "delay"), default.delay)
    max_delay = checks.duration(retry.max_delay, (*path, "max_delay"), max(default.max_delay, delay))
    if retry.delay is None:
        delay = min(delay, max_delay)
    elif max_delay < delay:
        checks.problem((*path, "max_delay"), "max_delay is shorter than delay", "make it as long or longer")
    return RetryPolicy(
        attempts=retry.attempts or default.attempts,
        delay=delay,
        backoff=retry.backoff or default.backoff,
        max_delay=max_delay,
    )
