"""The words in the boxes: what a step does and where, how often, and how it is undone."""

from collections.abc import Iterator

from orchestrator.core.definition import StepDef
from schemas.workflow import Selector, Step, Target, Trigger, Workflow

__all__ = ["about_lines", "forward_lines", "undo_lines"]


def forward_lines(step: StepDef, document: Step, *, undone: bool) -> tuple[str, ...]:
    """What a step does, a line each; `document` is the step as it was written, `undone`: it can be."""
    lines = [_task(step, document)]
    if document.target is not None:
        lines.append(_on(document.target))
    lines += _repeated(document)
    lines += (f"at most {limit}" for limit in _limits(document))
    if document.if_ is not None:
        lines.append(f"if {document.if_}")
    if step.retry.attempts > 1:
        lines.append(f"up to {step.retry.attempts} attempts")
    if step.on_failure == "continue":
        lines.append("goes on if it fails")
    elif step.on_failure == "pause":
        lines.append("pauses if it fails")
    if step.pivot:
        lines.append("pivot: no undo once it is done")
    if undone:
        undo = document.compensate
        lines.append("undo by the child itself" if undo is None else f"undo {undo.action}")
    return _plain(lines)


def undo_lines(step: StepDef, document: Step) -> tuple[str, ...]:
    """How a step is undone, a line each."""
    undo = document.compensate
    if undo is None:
        return _plain([f"undos of {document.workflow}", *_backwards(step)])
    lines = [f"action {undo.action}"]
    if undo.target is not None:
        lines.append(_on(undo.target))
    elif document.action is not None:
        lines.append("where it was done")
    lines += _backwards(step)
    if undo.after_failure:
        lines.append("also after it failed")
    return _plain(lines)


def about_lines(document: Workflow) -> tuple[str, ...]:
    """What a workflow is for, and what starts it, a line each."""
    lines = [document.description] if document.description.strip() else []
    lines += (f"Starts {', '.join(_trigger(trigger))}" for trigger in document.triggers)
    if document.concurrency is not None:
        limit, group = document.concurrency.limit, document.concurrency.group
        lines.append(f"At most {limit} at once of group {group}, else {document.concurrency.on_conflict}")
    return _plain(lines)


def _trigger(trigger: Trigger) -> Iterator[str]:
    if trigger.schedule is not None:
        yield f"at {trigger.schedule.cron} ({trigger.schedule.timezone})"
    if trigger.event is not None:
        yield f"on {trigger.event}"
    if trigger.if_ is not None:
        yield f"if {trigger.if_}"
    if trigger.key is not None:
        yield f"key {trigger.key}"
    if trigger.debounce is not None:
        yield f"debounce {trigger.debounce.wait}"
    if trigger.throttle is not None:
        yield f"throttle {trigger.throttle.limit} per {trigger.throttle.per}"


def _task(step: StepDef, document: Step) -> str:
    """The kind, and the one thing that tells most about it."""
    what = document.action or document.workflow or document.sleep or ""
    if document.wait_for is not None:
        what = document.wait_for.event
    elif document.approve is not None:
        what = f"by {', '.join(document.approve.by) or 'anybody'}"
    elif document.emit is not None:
        what = document.emit.type
    return f"{step.kind} {what}"


def _on(target: Target) -> str:
    if not isinstance(target, Selector):
        return f"on {target}"
    if target.pool is not None:
        return f"on one of pool {target.pool}"
    labels = ", ".join(f"{name}={value}" for name, value in (target.labels or {}).items())
    return f"on {'all' if target.all else 'one'} with {labels}"


def _repeated(document: Step) -> list[str]:
    """How the step is spread over items or hosts."""
    lines = []
    if document.foreach is not None:
        lines.append(f"for each {document.foreach}")
        if document.max_parallel is not None:
            lines.append(f"{document.max_parallel} at a time")
    if document.rollout is not None:
        batch = document.rollout.batch or "all"
        lines.append(f"rollout {batch} at a time, {document.rollout.max_failures} may fail")
    return lines


def _limits(document: Step) -> Iterator[str]:
    """How long an event or a person is waited for, where the document says it."""
    if document.wait_for is not None and document.wait_for.timeout is not None:
        yield document.wait_for.timeout
    if document.approve is not None and document.approve.timeout is not None:
        yield f"{document.approve.timeout}, then {document.approve.on_timeout}"


def _backwards(step: StepDef) -> list[str]:
    """In which order the tasks of a step with many are undone (rule 4)."""
    if step.foreach is not None:
        return ["each item, last first"]
    return ["each host, last batch first"] if step.rollout is not None else []


def _plain(lines: list[str]) -> tuple[str, ...]:
    """Each on one line, and without what could steer a terminal or break XML."""
    return tuple("".join(map(_visible, " ".join(line.split()))) for line in lines)


def _visible(char: str) -> str:
    return char if char.isprintable() else repr(char)[1:-1]
