"""What a step is: exactly one of the kinds, and which fields go with it."""

from typing import Any, Final

from orchestrator.core.compiler.checks import NOTHING, Checks, View
from orchestrator.core.definition import ApprovalDef, AwaitDef, EmitDef, Path, StepKind
from orchestrator.core.templates import Template
from schemas.errors import InvalidInput
from schemas.times import Micros, parse_duration
from schemas.workflow import STEP_KINDS, Approve, Compensate, Emit, Step, WaitFor

__all__ = ["check_fields", "kind_of", "parts_of"]

_DAY: Final[Micros] = 86_400_000_000

_ONLY: Final[dict[str, tuple[StepKind, ...]]] = {
    "with_": ("action", "workflow"),
    "retry": ("action", "workflow"),
    "target": ("action",),
    "start_within": ("action",),
    "timeout": ("action",),
    "idempotent": ("action",),
    "on_unknown": ("action",),
    "compensate": ("action", "wait_for", "approve", "sleep", "emit"),
}
"""The kinds of steps that a field belongs to; what is not listed belongs to all."""

_HINTS: Final[dict[tuple[str, StepKind], str]] = {
    ("timeout", "wait_for"): "write wait_for: {event: …, timeout: 1d}",
    ("timeout", "approve"): "write approve: {timeout: 7d}",
    ("timeout", "workflow"): "the other workflow has a timeout of its own",
    ("with_", "emit"): "write emit: {type: …, data: …}",
    ("idempotent", "workflow"): "retry: {attempts: 3} lets it be tried again",
    ("compensate", "workflow"): "the child run undoes its own steps",
}


def kind_of(checks: Checks, step: Step, path: Path) -> StepKind:
    """The step's kind. Of several the first counts, with none it is an action; both are refused."""
    kinds: list[StepKind] = [kind for kind in STEP_KINDS if getattr(step, kind) is not None]
    if not kinds:
        checks.problem(path, f"the step does nothing: it must have one of {', '.join(STEP_KINDS)}", "add one")
        return "action"
    for further in kinds[1:]:
        message = f"a step does one thing: it has '{kinds[0]}' already"
        checks.problem((*path, further), message, "make a step of its own of it")
    return kinds[0]


def check_fields(checks: Checks, step: Step, kind: StepKind, path: Path) -> None:
    """Refuse what means nothing for this kind of step."""
    plain = Step(id=step.id)
    for name, kinds in _ONLY.items():
        if kind not in kinds and getattr(step, name) != getattr(plain, name):
            field = name.rstrip("_")
            hint = _HINTS.get((name, kind), f"only {_listed(kinds)} has it; leave it out")
            checks.problem((*path, field), f"'{field}' does not belong to {_a(kind)} step", hint)
    if step.foreach is None and step.max_parallel is not None:
        message = "'max_parallel' goes with foreach"
        checks.problem((*path, "max_parallel"), message, "say over what: foreach: input.hosts")
    if step.compensate is not None and kind not in ("action", "workflow"):
        _check_undo(checks, step.compensate, kind, (*path, "compensate"))


def _check_undo(checks: Checks, undo: Compensate, kind: StepKind, path: Path) -> None:
    """The undo of a step that no agent did: it must say who does it, and a failure leaves no effect."""
    if undo.target is None:
        hint = f"no agent does {_a(kind)} step, so its undo must name one"
        checks.problem((*path, "target"), "missing field 'target'", hint)
    if undo.after_failure:
        message = f"{_a(kind)} step that failed has no effect to undo"
        checks.problem((*path, "after_failure"), message, "leave it out")


def parts_of(checks: Checks, step: Step, kind: StepKind, path: Path, view: View) -> dict[str, Any]:
    """The fields of `StepDef` that only this kind of step has."""
    path = (*path, kind)
    match kind:
        case "workflow":
            return {"child": step.workflow}
        case "wait_for" if step.wait_for is not None:
            return {"wait": _await(checks, step.wait_for, path, view)}
        case "approve" if step.approve is not None:
            return {"approval": _approval(checks, step.approve, path, view)}
        case "sleep" if step.sleep is not None:
            return {"sleep": _sleep(checks, step.sleep, path, view)}
        case "emit" if step.emit is not None:
            return {"emit": _emit(checks, step.emit, path, view)}
        case _:
            return {"action": step.action or ""}


def _await(checks: Checks, wait: WaitFor, path: Path, view: View) -> AwaitDef:
    by = wait.correlate
    below = (*path, "correlate")
    awaited = View(frozenset({"event"}))
    return AwaitDef(
        event=wait.event,
        topic=f"{wait.event}\n{'' if by is None else by.from_}",
        value_of=None if by is None else checks.expression(by.from_, (*below, "from"), awaited, "text"),
        expect=None if by is None else checks.expression(by.expect, (*below, "expect"), view, "text"),
        condition=checks.expression(wait.if_, (*path, "if"), view, "bool"),
        timeout=checks.time_limit(wait.timeout, (*path, "timeout"), _DAY, "leave it out for 1d"),
    )


def _approval(checks: Checks, approve: Approve, path: Path, view: View) -> ApprovalDef:
    return ApprovalDef(
        by=tuple(dict.fromkeys(approve.by)),
        message=checks.template(approve.message, (*path, "message"), view),
        timeout=checks.time_limit(approve.timeout, (*path, "timeout"), 7 * _DAY, "leave it out for 7d"),
        on_timeout=approve.on_timeout,
    )


def _sleep(checks: Checks, sleep: str, path: Path, view: View) -> Template:
    """The template; one that is plain text must be a duration now, any other when it is made."""
    template = checks.template(sleep, path, view)
    if template.is_constant and template is not NOTHING:
        try:
            length = parse_duration(template.render({}))
        except InvalidInput as error:
            checks.problem(path, error.message, error.hint)
        else:
            if length == 0:
                checks.problem(path, "a sleep of 0 does nothing", "leave the step out")
    return template


def _emit(checks: Checks, emit: Emit, path: Path, view: View) -> EmitDef:
    return EmitDef(
        type=emit.type,
        data=checks.template(emit.data, (*path, "data"), view),
        subject=checks.template(emit.subject, (*path, "subject"), view),
    )


def _a(kind: StepKind) -> str:
    """The kind with its article."""
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _listed(kinds: tuple[StepKind, ...]) -> str:
    return " or ".join(_a(kind) for kind in kinds)
