"""What each kind of input does to the batch in the making. Nothing here waits."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from orchestrator.core.inputs import CommandExpired, CommandReturned, Input, ResultReceived
from orchestrator.intake import (
    ApplyDefinition,
    CommandExpiredOnBus,
    Content,
    EventReceived,
    InputForRun,
    OutboxDone,
    PresenceReceived,
    ResultArrived,
    StartRun,
    TelemetryDone,
)
from orchestrator.triggers import Refused, Wanted, check_input, check_key
from orchestrator.work import Work
from schemas.errors import Conflict, InvalidInput, NotFound
from schemas.messages import Command, ErrorInfo, Result

__all__ = ["handle", "run_ids"]

C = TypeVar("C")
Wants = Sequence[Wanted | Refused]


def handle(work: Work, content: Content, wants: Wants) -> Any:
    """Let `content` happen; returns what its sender is answered, or raises `BatonError`.

    `wants` is what an event asks for; empty for anything else.
    """
    if isinstance(content, EventReceived):
        return work.receive_event(content.event, wants, content.traceparent)
    return _HANDLERS[type(content)](work, content)


def run_ids(content: Content | None) -> Iterable[str]:
    """The runs that handling `content` may look at."""
    match content:
        case ResultArrived(result):
            return (result.run_id,)
        case InputForRun(run_id):
            return (run_id,)
        case CommandExpiredOnBus(Command() as command):
            return (command.run_id,)
        case OutboxDone():
            return [command.run_id for command in (*content.returned, *content.expired)]
    return ()


def _on_result(work: Work, content: ResultArrived) -> None:
    result = content.result
    if result.run_id not in work.runs:
        work.refuse_result(result.agent, result.command_id, str(result.status), "no such run")
        return
    limit = work.settings.max_output_bytes
    if content.size > limit:
        result = _without_output(result, content.size, limit)
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
    live = work.live_run(content.workflow, content.key)
    if live is not None:
        raise Conflict(
            f"key '{content.key}' belongs to the live run {live}",
            code="key_taken",
            hint="wait for it, cancel it, or use another key",
            details={"id": live},
        )
    return work.start_run(definition, content.key, content.input, traceparent=content.traceparent)


def _on_apply(work: Work, content: ApplyDefinition) -> str:
    return work.apply_definition(content.definition)


def _on_input(work: Work, content: InputForRun) -> Any:
    if content.run_id not in work.runs:
        raise NotFound(f"there is no run {content.run_id}", hint="baton runs list shows the runs")
    work.apply(content.run_id, content.given)
    return work.runs[content.run_id]


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


def _without_output(result: Result, size: int, limit: int) -> Result:
    """A result whose output is too large to keep: the action had its effect, but its step cannot go on."""
    message = f"the output has {size} bytes, more than {limit}"
    error = ErrorInfo(code="output_too_large", message=message, retryable=False)
    return replace(result, output=None, log="", error=result.error or error)


_HANDLERS: dict[type, Callable[[Work, Any], Any]] = {
    ResultArrived: _on_result,
    PresenceReceived: _on_presence,
    CommandExpiredOnBus: _on_expired,
    StartRun: _on_start,
    ApplyDefinition: _on_apply,
    InputForRun: _on_input,
    OutboxDone: _on_outbox_done,
    TelemetryDone: _on_telemetry_done,
}
