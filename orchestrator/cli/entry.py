"""Puts the commands together, runs one, and turns what becomes of it into an exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from orchestrator.cli import graph, lists, processes, runs, scenarios, steer, workflows
from orchestrator.cli.interrupts import interruptible
from orchestrator.cli.output import say_error
from orchestrator.cli.remote import UsageError
from schemas.errors import BatonError, InternalError, Unreachable

__all__ = ["run_command"]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CANNOT_REACH: Final = 3
INTERRUPTED: Final = 130


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors are told, never raised."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with interruptible():
            code = _app()(given, exit_on_error=False, result_action="return_value")
            sys.stdout.flush()
    except CycloptsError:
        return USAGE  # it has said what is wrong
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001  no traceback in a user's face
        return _tell(error, as_json="--json" in given)
    return code if isinstance(code, int) else DONE


def _tell(error: Exception, *, as_json: bool) -> int:
    """Say what went wrong, and give its exit code. What nobody foresaw is a fault of ours."""
    if not isinstance(error, BatonError):
        if os.environ.get("BATON_LOG_LEVEL", "").upper() == "DEBUG":
            raise error
        hint = "this is a fault of Baton's own; BATON_LOG_LEVEL=DEBUG shows where"
        error = InternalError(f"{type(error).__name__}: {error}", hint=hint)
    say_error(error, as_json=as_json)
    if isinstance(error, UsageError):
        return USAGE
    return CANNOT_REACH if isinstance(error, Unreachable) else FAILED


def _app() -> App:
    app = App(
        name="baton",
        help="An event-driven saga orchestrator: events on RabbitMQ start workflows that run on many hosts.",
        version=_version,
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
    )
    for command in (
        processes.up,
        processes.coordinator,
        workflows.check,
        graph.graph,
        workflows.apply,
        runs.emit,
        runs.start,
        processes.doctor,
    ):
        app.command(command)
    app.command(scenarios.play_scenarios, name="test")
    for group in (runs.runs, workflows.workflows, steer.approvals, lists.agents, lists.inbox, lists.dead):
        app.command(group)
    return app


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("baton-orchestrator")
    except PackageNotFoundError:
        return "0 (not installed)"
