"""A process of its own that outlives the agent by a moment, to kill what the agent was running.

An agent killed with SIGKILL cannot stop its actions, and an action whose end nobody learns of must not go on
behind the coordinator's back. The agent tells this script over a pipe which process groups live (`+PGID`,
`-PGID`, a line each). The kernel closes the pipe when the agent dies, however it dies; what is then still
listed is killed. It imports nothing of ours: it is run by path, isolated, and stays small.
"""

import os
import signal
import sys

__all__: list[str] = []


def main() -> None:
    """Follow the agent's list until the pipe closes, then kill what is left on it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the agent does, not when the terminal says so
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line[:1] == b"+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it ended by itself in the meantime


if __name__ == "__main__":
    main()
