"""The command `baton`. Importing this must stay cheap: each command imports what it needs when it runs."""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line. The exit code: 0 done, 1 failed, 2 usage, 3 cannot reach, 130 Ctrl-C."""
    from orchestrator.cli.entry import run_command

    return run_command(arguments)
