"""The command `baton`. Importing this must stay cheap: each command imports what it needs when it runs."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line. The exit code: 0 done, 1 failed, 2 usage, 3 cannot reach, 130 Ctrl-C."""
    try:
        from orchestrator.cli.entry import run_command
    except ModuleNotFoundError as error:  # as on a host that has an agent only
        hint = "install what requirements/coordinator.txt lists, or baton-orchestrator[coordinator]"
        sys.stderr.write(f"error: baton needs the Python module {error.name}, which is not here\n  {hint}\n")
        return 1
    return run_command(arguments)
