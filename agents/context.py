"""What an action learns about its command, and what it can ask of the agent."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.limits import MAX_LOG_BYTES, MAX_STREAM_BYTES
from agents.processes import Completed, Processes, Tail
from agents.redaction import PLAIN, Redactor
from schemas.codec import encode
from schemas.messages import Command

__all__ = ["Context", "Stopped"]


class Stopped(Exception):
    """Raised by `Context.check` in an action that runs in a thread and was told to stop."""


class Context:
    """Handed to every action. Safe to use from the thread that a plain (not `async`) action runs in."""

    def __init__(
        self,
        command: Command,
        agent: str,
        *,
        work: Path,
        processes: Processes,
        traceparent: str = "",
        redactor: Redactor = PLAIN,
    ) -> None:
        self.command_id = command.id
        self.run_id = command.run_id
        self.workflow = command.workflow
        self.step = command.step
        self.host_index = command.host_index
        self.attempt = command.attempt
        self.kind = command.kind
        self.timeout = command.timeout
        """Seconds from start to end; the agent keeps it, the action need not."""
        self.agent = agent
        """This host's name as an agent."""
        self.traceparent = traceparent
        """W3C trace context for what the action calls; empty when the command had none."""
        self.redactor = redactor
        """Hides the values of the command's secrets; what the action gives and logs passes through it."""
        self._work = work
        self._workdir: Path | None = None
        self._processes = processes
        self._log = Tail(MAX_LOG_BYTES)
        self._stopped = False
        self._on_progress: Callable[[Any], None] | None = None

    @property
    def workdir(self) -> Path:
        """An empty directory of this attempt's own, made when first asked for and removed at its end."""
        if self._workdir is None:
            self._work.mkdir(parents=True, exist_ok=True)
            self._workdir = Path(tempfile.mkdtemp(dir=self._work))
        return self._workdir

    def log(self, text: str) -> None:
        """Add a line to the result's `log`, of which the last 16 KiB are kept."""
        self._log.add((text.rstrip("\n") + "\n").encode("utf-8", "replace"))

    def progress(self, data: Any = None) -> None:
        """Report how far it is, any small JSON value; sent at most once a second."""
        encode(data)  # a value that is not JSON fails here, in the action, where it can be seen
        if self._on_progress is not None:
            self._on_progress(self.redactor.value(data))

    @property
    def cancelled(self) -> bool:
        """Whether the action was told to stop. Only an action in a thread has to look."""
        return self._stopped

    def check(self) -> None:
        """Raise `Stopped` if the action was told to stop: for the loops of an action in a thread."""
        if self._stopped:
            raise Stopped

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        keep: int = MAX_STREAM_BYTES,
        fail_beyond: bool = False,
    ) -> Completed:
        """Run a program to its end in a process group of its own, killed as a tree if the action is stopped.

        Of each stream the last `keep` bytes are kept (`.stdout.text()`, `.raw()`); with `fail_beyond`, more
        output than that kills it. Raises `ActionError` if it cannot be started; an exit code is no error.
        """
        return await self._processes.run(
            argv,
            stdin=stdin,
            cwd=cwd,
            env={**self._environment(), **(env or {})},
            cookie=self.command_id,
            keep=keep,
            fail_beyond=fail_beyond,
        )

    def _environment(self) -> dict[str, str]:
        """What a program is told about the command it runs for."""
        told = {"BATON_RUN_ID": self.run_id, "BATON_STEP": self.step, "BATON_ATTEMPT": str(self.attempt)}
        return {**told, "TRACEPARENT": self.traceparent} if self.traceparent else told

    def stop(self) -> None:
        """Tell the action to stop."""
        self._stopped = True

    def on_progress(self, tell: Callable[[Any], None]) -> None:
        """Where progress goes; `tell` may be called in any thread."""
        self._on_progress = tell

    def printed(self, raw: bytes) -> None:
        """Add what a program printed to the log."""
        self._log.add(raw)

    def log_tail(self) -> str:
        """The log as text."""
        return self.redactor.text(self._log.text())

    def clean_up(self) -> None:
        """Remove the work directory, if one was made."""
        if self._workdir is not None:
            shutil.rmtree(self._workdir, ignore_errors=True)
