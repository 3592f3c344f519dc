"""Steps that wait, or publish, without an agent: `sleep`, `wait_for`, `approve`, `emit`."""

import unicodedata
from collections.abc import Callable
from typing import Any, Final

from orchestrator.core.concluding import fail, fail_unsent, no_retry, succeed
from orchestrator.core.definition import StepDef
from orchestrator.core.expressions import ExpressionError
from orchestrator.core.facts import (
    EventEmitted,
    TaskWaiting,
)
from orchestrator.core.inputs import (
    ApproveTask,
    Emission,
    EventArrived,
    IllegalInput,
)
from orchestrator.core.model import Task, Wait, WaitOn
from orchestrator.core.scope import Scope, task_scope
from orchestrator.core.turn import Turn
from schemas.codec import encode
from schemas.errors import BatonError, InvalidInput
from schemas.messages import ErrorInfo
from schemas.times import Micros, parse_duration, to_rfc3339

__all__ = ["begin", "begin_wait", "on_approval", "on_event", "on_time"]

_ROOM: Final = 4 * 1024
"""What an event's other attributes may take of its size."""

_MAX_SUBJECT: Final = 1_024
"""Most characters of an event's subject."""


def begin(turn: Turn, step: StepDef, index: int) -> None:
    """Begin an attempt of a step that is no action."""
    task = turn.task(step, index)
    try:
        _BEGIN[step.kind](turn, step, index, task_scope(turn, step, task))
    except BatonError as error:
        fail_unsent(turn, step, index, no_retry(error))


# Time, events and people


def _sleep(turn: Turn, step: StepDef, index: int, scope: Scope) -> None:
    if step.sleep is None:
        raise AssertionError(step.id)
    begin_wait(turn, step, index, Wait(WaitOn.TIME), _length(step.sleep.render(scope)))


def _await_event(turn: Turn, step: StepDef, index: int, scope: Scope) -> None:
    wait = step.wait
    if wait is None:
        raise AssertionError(step.id)
    value = "" if wait.expect is None else wait.expect.evaluate_text(scope)
    begin_wait(turn, step, index, Wait(WaitOn.EVENT, topic=wait.topic, value=value), wait.timeout)


def _ask_person(turn: Turn, step: StepDef, index: int, scope: Scope) -> None:
    approval = step.approval
    if approval is None:
        raise AssertionError(step.id)
    message = approval.message.render(scope)
    if not isinstance(message, str):
        raise InvalidInput("the approval's message is no text", code="expression_error")
    begin_wait(turn, step, index, Wait(WaitOn.APPROVAL, message=message[:2000]), approval.timeout)


def begin_wait(turn: Turn, step: StepDef, index: int, wait: Wait, length: Micros | None) -> None:
    """Let the next attempt of a task wait for this, so long at most; None: as long as it takes."""
    limit = turn.env.limits.wait
    if length is not None and length > limit:
        raise InvalidInput(
            f"a wait of {length // 1_000_000} s is longer than the limit of {limit // 1_000_000} s "
            "(setting max_wait_days)",
            code="wait_too_long",
        )
    turn.record(
        TaskWaiting(
            at=turn.env.now,
            step=step.id,
            host_index=index,
            attempt=1 + turn.task(step, index).attempt,
            wait=wait,
            due=None if length is None else turn.env.now + length,
        )
    )


def _length(value: Any) -> Micros:
    """How long to sleep: a duration's text, or a number of seconds."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput(
            "sleep: neither a duration such as 30s nor a number of seconds", code="bad_duration"
        )
    if isinstance(value, str):
        return parse_duration(value)
    if not value >= 0:  # also what is no number at all
        raise InvalidInput(f"sleep: {value} s is negative", code="bad_duration")
    return int(min(value, 1e12) * 1_000_000)


def on_time(turn: Turn, step: StepDef, index: int, task: Task) -> None:
    """What a task has waited for has not come in time, or its time has passed."""
    approval = step.approval
    match task.wait:
        case Wait(on=WaitOn.TIME):
            succeed(turn, step, index, None)
        case Wait(on=WaitOn.EVENT):
            message = f"no such event came within {_seconds(turn, task)} s"
            fail(turn, step, index, ErrorInfo("wait_timed_out", message, retryable=False), "failed")
        case Wait(on=WaitOn.APPROVAL) if approval is not None and approval.on_timeout == "approve":
            succeed(turn, step, index, _approval(turn, "", "nobody answered in time"), why="nobody answered")
        case Wait(on=WaitOn.APPROVAL):
            message = f"nobody approved within {_seconds(turn, task)} s"
            fail(turn, step, index, ErrorInfo("approval_timed_out", message, retryable=False), "failed")


def on_event(turn: Turn, given: EventArrived) -> None:
    """Give an event to the tasks that wait for it; one event serves one run once."""
    if _was_used(turn, given.event):
        return
    for name, index in given.tasks:
        step = turn.definition.steps.get(name)
        tasks = turn.run.steps.get(name, ())
        if step is None or step.wait is None or index >= len(tasks) or turn.run.ended is not None:
            continue
        task = tasks[index]
        if task.wait is None or task.wait.on is not WaitOn.EVENT:
            continue
        if _is_meant(turn, step, task, given.event):
            keys = ("id", "source", "type", "time", "subject", "data")
            output = {key: given.event.get(key) for key in keys}
            succeed(turn, step, index, output, event=_name_of(given.event))
            if turn.task(step, index).event == _name_of(given.event):
                return


def _is_meant(turn: Turn, step: StepDef, task: Task, event: dict[str, Any]) -> bool:
    """Whether the step's `if` is true of the event. One that it cannot be asked of is not meant."""
    if step.wait is None or step.wait.condition is None:
        return True
    try:
        return step.wait.condition.evaluate_bool({**task_scope(turn, step, task), "event": event})
    except ExpressionError:
        return False  # what comes from outside must not fail the run; the wait has its timeout


def _was_used(turn: Turn, event: dict[str, Any]) -> bool:
    """Whether the run was started by this event, or has had it for another wait."""
    name, first = _name_of(event), turn.run.head.event
    if first is not None and _name_of(first) == name:
        return True
    return any(task.event == name for tasks in turn.run.steps.values() for task in tasks)


def _name_of(event: dict[str, Any]) -> tuple[str, str]:
    """What an event is known by."""
    return event.get("source", ""), event.get("id", "")


def on_approval(turn: Turn, given: ApproveTask) -> None:
    """Take a person's answer to an `approve` step."""
    tasks = turn.run.steps.get(given.step, ())
    task = tasks[given.host_index] if given.host_index < len(tasks) else None
    if turn.run.ended is not None or task is None or task.wait is None or task.wait.on is not WaitOn.APPROVAL:
        raise IllegalInput(
            f"step '{given.step}' of run {turn.run.head.id} does not wait for an approval",
            code="not_waiting",
            hint="baton runs show says what a run waits for",
        )
    step = turn.definition.steps[given.step]
    by = step.approval.by if step.approval is not None else ()
    if by and given.who not in by:
        raise IllegalInput(
            f"'{given.who}' may not answer for step '{step.id}'",
            code="not_an_approver",
            hint=f"one of these may: {', '.join(by)}",
        )
    if given.approved:
        output = _approval(turn, given.who, given.why)
        succeed(turn, step, given.host_index, output, who=given.who, why=given.why)
    else:
        message = f"rejected by {given.who}" + (f": {given.why}" if given.why else "")
        fail(
            turn, step, given.host_index, ErrorInfo("rejected_by_person", message, retryable=False), "failed"
        )


def _approval(turn: Turn, who: str, why: str) -> dict[str, Any]:
    return {"approved": True, "by": who, "why": why, "at": to_rfc3339(turn.env.now)}


# Events to publish


def _emit(turn: Turn, step: StepDef, index: int, scope: Scope) -> None:
    emit = step.emit
    if emit is None:
        raise AssertionError(step.id)
    attempt = 1 + turn.task(step, index).attempt
    data, subject = emit.data.render(scope), emit.subject.render(scope)
    if not isinstance(subject, str):
        raise InvalidInput("the event's subject is no text", code="expression_error")
    if len(subject) > _MAX_SUBJECT or any(unicodedata.category(char) == "Cc" for char in subject):
        message = f"the event's subject is longer than {_MAX_SUBJECT} characters or has a control character"
        raise InvalidInput(message, code="bad_subject", hint="put what is longer into data")
    size, limit = len(encode([data, subject])), turn.env.limits.event_bytes
    if size > limit - _ROOM:
        raise InvalidInput(
            f"the event's data and subject have {size} bytes, more than {limit - _ROOM} "
            f"(setting max_event_bytes, less {_ROOM} for its other attributes)",
            code="event_too_large",
        )
    event_id = f"{turn.run.head.id}/{step.id}/{index}/{attempt}"
    turn.record(
        EventEmitted(
            at=turn.env.now,
            step=step.id,
            host_index=index,
            attempt=attempt,
            event_id=event_id,
            type=emit.type,
        )
    )
    span_id = turn.run.head.trace.span_of(step.id, index, undo=False)
    turn.emissions.append(Emission(event_id, emit.type, data, subject, span_id))
    succeed(turn, step, index, {"id": event_id, "type": emit.type})


def _seconds(turn: Turn, task: Task) -> int:
    began = turn.env.now if task.started_at is None else task.started_at
    return (turn.env.now - began) // 1_000_000


_BEGIN: Final[dict[str, Callable[[Turn, StepDef, int, Scope], None]]] = {
    "sleep": _sleep,
    "wait_for": _await_event,
    "approve": _ask_person,
    "emit": _emit,
}
