"""Where the cases are kept, and what several of them need."""

from collections.abc import Callable
from typing import Final

from orchestrator.core.registry import Host
from schemas.messages import CommandKind
from tests.golden.story import Recorded

__all__ = ["CASES", "DO", "POOL", "UNDO", "WEB", "case"]

CASES: Final[dict[str, Callable[[], Recorded]]] = {}
"""By name; the docstring says what the run is about."""

DO: Final = CommandKind.EXECUTE
UNDO: Final = CommandKind.COMPENSATE
WEB: Final = [Host(f"w{number}", f"i{number}", {"role": "web"}) for number in range(4)]
POOL: Final = [Host(name, f"i-{name}", pools=("p",)) for name in ("p1", "p2")]


def case(run: Callable[[], Recorded]) -> Callable[[], Recorded]:
    """A case by the name of its function."""
    CASES[run.__name__] = run
    return run
