"""Results: what an agent says of a command, within the limits of the wire."""

import traceback
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from agents.limits import MAX_DETAILS_BYTES, MAX_LOG_BYTES, MAX_OUTPUT_BYTES
from agents.processes import printable
from agents.redaction import PLAIN, Redactor
from agents.sdk import ActionError
from schemas.codec import Malformed, decode, encode
from schemas.messages import Command, ErrorInfo, Result, ResultStatus

__all__ = ["Identity", "Outcome", "answer", "error_info", "failure", "output_of", "redacted"]

MAX_MESSAGE_CHARS: Final = 4096
MAX_CODE_CHARS: Final = 64


class Identity(NamedTuple):
    """Who answers: the agent's name, and its journal's instance id."""

    agent: str
    instance_id: str


class Outcome(NamedTuple):
    """How an attempt ended, or stands."""

    status: ResultStatus
    output: Any = None
    error: ErrorInfo | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    log: str = ""


def answer(identity: Identity, command: Command, outcome: Outcome, *, about: str = "") -> bytes:
    """The body of a result for `command`, or for the command `about` that a query or cancel names."""
    body = _body(identity, command, outcome, about)
    try:
        decode(body, msgspec.Raw)  # whoever reads it has the same limits
    except Malformed as error:
        refused = ErrorInfo("bad_output", f"the result cannot be sent: {error.message}", retryable=False)
        status = ResultStatus.FAILED if outcome.status is ResultStatus.SUCCEEDED else outcome.status
        outcome = outcome._replace(
            status=status, output=None, error=refused if status.is_final else None, log=""
        )
        body = _body(identity, command, outcome, about)
    return body


def _body(identity: Identity, command: Command, outcome: Outcome, about: str) -> bytes:
    return encode(
        Result(
            about or command.id,
            command.run_id,
            command.step,
            command.host_index,
            command.attempt,
            command.epoch,
            identity.agent,
            identity.instance_id,
            *outcome,
        )
    )


def output_of(value: Any) -> msgspec.Raw | None:
    """What an action returned, as JSON; else `ActionError` `output_too_large` or `bad_output`."""
    if value is None:
        return None
    try:
        body = encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ActionError("bad_output", f"the output is not JSON: {error}", retryable=False) from None
    if len(body) > MAX_OUTPUT_BYTES:
        raise ActionError(
            "output_too_large",
            f"the output has {len(body)} bytes, more than {MAX_OUTPUT_BYTES}; return a reference instead",
            retryable=False,
        )
    return msgspec.Raw(body)


def error_info(code: str, message: str, *, retryable: bool = True, details: Any = None) -> ErrorInfo:
    """An error within the limits of the wire, whatever an action's author put into it."""
    return ErrorInfo(
        code=_clean(str(code), MAX_CODE_CHARS) or "error",
        message=_clean(str(message), MAX_MESSAGE_CHARS),
        retryable=bool(retryable),
        details=_small(details),
    )


def failure(error: BaseException, redactor: Redactor = PLAIN) -> tuple[ErrorInfo, str]:
    """The error of a failed attempt, and what to add to its log. Secrets are hidden before text is cut."""
    hide = redactor.text
    if isinstance(error, ActionError):
        code, message = hide(str(error.code)), hide(str(error.message))
        return error_info(code, message, retryable=error.retryable, details=error.details), ""
    text = hide("".join(traceback.format_exception(error)))[-MAX_LOG_BYTES // 2 :]
    return error_info("exception", hide(f"{type(error).__name__}: {error}")), _clean(text, MAX_LOG_BYTES)


def redacted(outcome: Outcome, redactor: Redactor) -> Outcome:
    """The outcome with the values of secrets hidden, in which state alone it may be kept or told."""
    if redactor is PLAIN:
        return outcome
    error = outcome.error
    try:
        output = redactor.value(outcome.output)
    except Malformed as refused:
        message = f"the result cannot be sent: {refused.message}"
        output, error = None, ErrorInfo("bad_output", message, retryable=False)
        outcome = outcome._replace(status=ResultStatus.FAILED)
    if error is not None:
        error = ErrorInfo(
            redactor.text(error.code),
            redactor.text(error.message),
            error.retryable,
            _hidden_details(error.details, redactor),
        )
    return outcome._replace(output=output, error=error, log=redactor.text(outcome.log))


def _hidden_details(details: Any, redactor: Redactor) -> Any:
    try:
        return redactor.value(details)
    except Malformed:
        return "left out: it cannot be read"


def _clean(text: str, limit: int) -> str:
    return printable(text[:limit].encode("utf-8", "replace").decode())


def _small(details: Any) -> Any:
    """`details` if it is JSON and small, else a word in its place."""
    if details is None:
        return None
    try:
        body = encode(details)
    except (TypeError, ValueError, RecursionError):
        return "left out: not JSON"
    return msgspec.Raw(body) if len(body) <= MAX_DETAILS_BYTES else "left out: too large"
