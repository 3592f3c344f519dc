"""What each kind of input does to the batch in the making. Nothing here waits."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec.structs import replace

from orchestrator.core.inputs import (
    CommandExpired,
    CommandReturned,
    IllegalInput,
    Input,
    ResultReceived,
    RetryFrom,
)
from orchestrator.loop.intake import (
    ApplyDefinition,
    CommandExpiredOnBus,
    Content,
    EventReceived,
    InputForRun,
    LookForEvent,
    OutboxDone,
    PresenceReceived,
    ResultArrived,
    RetryRun,
    SignalArrived,
    StartRun,
    TelemetryDone,
)
from orchestrator.loop.limits import check_limits
from orchestrator.loop.reception import NOTHING, Matched, offer_kept, receive_event
from orchestrator.loop.wanted import admit, end_debounce
from orchestrator.loop.work import Work
from orchestrator.starting.due import AdmitQueued, DebounceDue, PlanSchedules, ScheduleDue
from orchestrator.starting.retries import kept_steps
from orchestrator.starting.triggers import check_input, check_key
from orchestrator.store.port import InboxRecord
from schemas.codec import encode
from schemas.errors import Conflict, InvalidInput, NotFound
from schemas.messages import Command, ErrorInfo, Result

__all__ = ["handle", "run_ids"]

log = logging.getLogger(__name__)

C = TypeVar("C")


def handle(work: Work, content: Content, matched: Matched = NOTHING) -> Any:
    """Let `content` happen; returns what its sender is answered, or raises `BatonError`.

    `matched` is what an event asks for.
    """
    if isinstance(content, EventReceived):
        return receive_event(work, content.event, matched, content.traceparent)
    if isinstance(content, ScheduleDue):
        return _on_schedule(work, content, matched)
    return _HANDLERS[type(content)](work, content)


def run_ids(content: Content | None) -> Iterable[str]:
    """The runs that handling `content` may look at."""
    match content:
        case ResultArrived(result):
            return (result.run_id,)
        case InputForRun(run_id) | RetryRun(run_id) | SignalArrived(_, run_id) | AdmitQueued(run_id):
            return (run_id,)
        case LookForEvent(waiting):
            return (waiting.run_id,)
        case CommandExpiredOnBus(Command() as command):
            return (command.run_id,)
        case OutboxDone():
            return [command.run_id for command in (*content.returned, *content.expired)]
    return ()


def _on_result(work: Work, content: ResultArrived) -> None:
    result = content.result
    if result.run_id not in work.runs:
        _refuse_result(work, result, "no such run")
        return
    limit = work.settings.max_output_bytes
    if content.size > limit and (size := len(encode(result.output))) > limit:
        result = _without_output(result, size, limit)
    work.apply(result.run_id, ResultReceived(result))


def _on_presence(work: Work, content: PresenceReceived) -> None:
    work.announce(content.presence)


def _on_expired(work: Work, content: CommandExpiredOnBus) -> None:
    if content.command is not None:
        _apply_all(work, [content.command], CommandExpired)


def _on_start(work: Work, content: StartRun) -> str:
    definition = work.definitions.current.get(content.workflow)
    if definition is None:
        raise NotFound(f"there is no workflow '{content.workflow}'", hint="baton apply FILE stores one")
    problem = check_input(definition, content.input) or (check_key(content.key) if content.key else "")
    if problem:
        raise InvalidInput(problem, hint=f"the input schema of '{content.workflow}' says what it takes")
    _check_free(work, content.workflow, content.key)
    return work.start_run(definition, content.key, content.input, traceparent=content.traceparent)


def _on_apply(work: Work, content: ApplyDefinition) -> str:
    check_limits(content.definition, work.settings)
    return work.apply_definition(content.definition)


def _on_input(work: Work, content: InputForRun) -> Any:
    if content.run_id not in work.runs:
        raise NotFound(f"there is no run {content.run_id}", hint="baton runs list shows the runs")
    work.apply(content.run_id, content.given)
    return work.runs[content.run_id]


def _on_retry(work: Work, content: RetryRun) -> str:
    run = work.runs.get(content.run_id)
    if run is None:
        raise NotFound(f"there is no run {content.run_id}", hint="baton runs list shows the runs")
    if run.ended is None:
        work.apply(content.run_id, RetryFrom(content.step, content.who, content.why))
        return content.run_id
    old = work.definitions.of(run.version)
    new = work.definitions.current.get(run.head.workflow) if content.current else old
    if new is None:
        raise NotFound(f"there is no workflow '{run.head.workflow}' any more", hint="apply it again")
    kept = kept_steps(run, old, new, content.step)
    if live := work.loaded.retries.get(content.run_id):
        raise Conflict(
            f"run {live} goes on from run {content.run_id} already",
            code="being_retried",
            hint="wait for it, or cancel it",
            details={"id": live},
        )
    _check_free(work, run.head.workflow, run.head.key)
    work.loaded.check_room(len(work.batch.started))
    return work.retry_run(run, new, kept)


def _on_signal(work: Work, content: SignalArrived) -> None:
    """Tell a run what another one's move has to say. With this batch the signal is delivered."""
    work.batch.signals_done.append(content.id)
    if content.to not in work.runs:
        log.warning("a signal for run %s is dropped: there is no such run", content.to)
        return
    try:
        work.apply(content.to, content.given)
    except IllegalInput as refused:
        log.info("run %s takes no %s: %s", content.to, type(content.given).__name__, refused.message)


def _on_look_up(work: Work, content: LookForEvent) -> None:
    offer_kept(work, content)


def _on_schedule(work: Work, content: ScheduleDue, matched: Matched) -> None:
    definition = work.definitions.current.get(content.schedule.workflow)
    if work.starting.schedules.take(content.schedule, definition, work.now):
        receive_event(work, content.event, matched, "")


def _on_plan(work: Work, content: PlanSchedules) -> None:
    definition = work.definitions.current.get(content.workflow)
    if definition is not None:
        work.starting.schedules.apply(definition, work.now)


def _on_debounce(work: Work, content: DebounceDue) -> None:
    end_debounce(work, content.waiting)


def _on_admit(work: Work, content: AdmitQueued) -> None:
    admit(work, content.run_id)


def _on_outbox_done(work: Work, content: OutboxDone) -> None:
    work.batch.sent.extend(content.sent)
    _apply_all(work, content.returned, CommandReturned)
    _apply_all(work, content.expired, CommandExpired)


def _on_telemetry_done(work: Work, content: TelemetryDone) -> None:
    work.batch.telemetry_cursor = content.cursor


def _apply_all(work: Work, commands: Iterable[Command], kind: Callable[[Command], Input]) -> None:
    for command in commands:
        if command.run_id in work.runs:
            work.apply(command.run_id, kind(command))


def _check_free(work: Work, workflow: str, key: str) -> None:
    live = work.live_run(workflow, key)
    if live is not None:
        raise Conflict(
            f"key '{key}' belongs to the live run {live}",
            code="key_taken",
            hint="wait for it, cancel it, or use another key",
            details={"id": live},
        )


def _refuse_result(work: Work, result: Result, reason: str) -> None:
    """Record a result that belongs to no run of ours."""
    record = InboxRecord(
        kind="result",
        source=result.agent,
        id=result.command_id,
        type=str(result.status),
        outcome="rejected",
        at=work.now,
        reason=reason,
    )
    work.record(record)


def _without_output(result: Result, size: int, limit: int) -> Result:
    """A result whose output is too large to keep: the action had its effect, but its step cannot go on."""
    message = f"the output has {size} bytes, more than the limit of {limit} (setting max_output_bytes)"
    error = ErrorInfo(code="output_too_large", message=message, retryable=False)
    return replace(result, output=None, log="", error=result.error or error)


_HANDLERS: dict[type, Callable[[Work, Any], Any]] = {
    ResultArrived: _on_result,
    PresenceReceived: _on_presence,
    CommandExpiredOnBus: _on_expired,
    StartRun: _on_start,
    ApplyDefinition: _on_apply,
    InputForRun: _on_input,
    RetryRun: _on_retry,
    SignalArrived: _on_signal,
    LookForEvent: _on_look_up,
    PlanSchedules: _on_plan,
    DebounceDue: _on_debounce,
    AdmitQueued: _on_admit,
    OutboxDone: _on_outbox_done,
    TelemetryDone: _on_telemetry_done,
}
