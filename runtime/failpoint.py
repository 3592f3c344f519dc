"""Named points at which a test can kill the process, as power loss would.

`BATON_FAILPOINT=name` kills at the first passing, `name:3` at the third; several are separated by commas.
"""

import os
import signal
from typing import Final

from schemas.errors import InternalError

__all__ = ["NAMES", "failpoint"]

NAMES: Final = frozenset(
    {
        "agent.after_action",
        "agent.after_confirm",
        "agent.after_journal",
        "agent.after_publish",
        "agent.after_result_journal",
        "agent.before_journal",
        "agent.before_start",
        "coordinator.after_ack",
        "coordinator.after_commit",
        "coordinator.after_confirm",
        "coordinator.after_publish",
        "coordinator.at_timer",
        "coordinator.before_ack",
        "coordinator.before_commit",
        "coordinator.before_decide",
        "coordinator.before_publish",
        "coordinator.mid_undo",
        "telemetry.after_export",
    }
)
"""Every failpoint in the code; a test holds the two together."""


def parse(text: str) -> dict[str, int]:
    """`name[:n],…` as passings left for each name; `ValueError` says what is wrong."""
    armed: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.strip().partition(":")
        if name not in NAMES:
            raise ValueError(f"there is no failpoint '{name}'; there are: {', '.join(sorted(NAMES))}")
        if number and not (number.isdecimal() and int(number)):
            raise ValueError(f"'{number}' is not a number of passings; write {name}:1 or more")
        armed[name] = int(number or 1)
    return armed


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    if _armed:
        _pass(name)


def _pass(name: str) -> None:
    if name not in NAMES:
        raise InternalError(f"failpoint '{name}' is not in runtime.failpoint.NAMES", hint="add it there")
    if name in _armed:
        _armed[name] -= 1
        if not _armed[name]:
            os.kill(os.getpid(), signal.SIGKILL)


try:
    _armed = parse(os.environ.get("BATON_FAILPOINT", ""))
except ValueError as problem:
    raise SystemExit(f"BATON_FAILPOINT: {problem}") from None
