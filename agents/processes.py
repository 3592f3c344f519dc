"""Programs run for actions: argv only, a process group each, output capped, killed as a tree.

A program and its children share a process group, so one signal reaches them all. A child that leaves the
group (a daemon) still carries `BATON_COMMAND_ID` in its environment, by which it is found on Linux when its
command is stopped. A program that ends by itself may leave a daemon behind: so actions start services.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.sdk import ActionError

__all__ = ["COOKIE", "Completed", "Processes", "Tail", "kill_marked"]

COOKIE: Final = "BATON_COMMAND_ID"
"""Environment variable by which a command's processes are known."""

SECRET_VARIABLES: Final = frozenset({"BATON_AMQP_URL"})
SECRET_PREFIX: Final = "BATON_SECRET_"  # noqa: S105 - the beginning of names
"""What of the agent's own environment no program of an action gets to see: by name, by how it begins."""

TERM_GRACE: Final = 5.0
"""Seconds between SIGTERM and SIGKILL."""

DRAIN_AFTER_EXIT: Final = 1.0
"""Seconds to read on after a program's end while a child of its holds its output open."""

_CHUNK: Final = 64 * 1024
_POLL: Final = 0.02
_STRAY_ROUNDS: Final = 50
_GUARD: Final = Path(__file__).with_name("guard.py")


class Tail:
    """The last `keep` bytes of what is added, and how many bytes came in all."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.total = 0
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """Append, dropping from the front what is beyond the limit."""
        self.total += len(chunk)
        self._bytes += chunk
        if len(self._bytes) > 2 * self.keep:  # trimmed now and then, not at each line
            del self._bytes[: -self.keep]

    @property
    def truncated(self) -> bool:
        """Whether something was dropped."""
        return self.total > self.keep

    def raw(self) -> bytes:
        """What was kept."""
        return bytes(self._bytes[-self.keep :])

    def text(self) -> str:
        """What was kept, as text without control characters that JSON would blow up."""
        return printable(self.raw().decode("utf-8", "replace"))


_CONTROL: Final = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n\r"}


def printable(text: str) -> str:
    """`text` with control characters other than tab and line ends replaced."""
    return text.translate(_CONTROL)


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended: its exit code (negative: the signal that ended it) and what it printed."""

    exit_code: int
    stdout: Tail
    stderr: Tail


class Processes:
    """Starts, watches and kills the programs of one agent."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._guard: subprocess.Popen[bytes] | None = None

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cookie: str,
        keep: int,
        stdin: bytes = b"",
        cwd: str | None = None,
        fail_beyond: bool = False,
    ) -> Completed:
        """Run `argv` to its end; when cancelled, kill its whole tree first, then pass the cancellation on.

        Raises `ActionError` `not_found` or `not_executable` if it cannot be started, and `output_too_large`
        (after killing it) if `fail_beyond` is set and its standard output grows beyond `keep` bytes.
        """
        process = await self._spawn(argv, cwd, {**_base_environment(), **env, COOKIE: cookie})
        ended = False
        self._watch(process.pid)
        try:
            completed = await _converse(process, stdin, keep, fail_beyond=fail_beyond)
            ended = True
        finally:
            if not ended:
                await _finish(kill_tree(process.pid, cookie))
            process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - the only way to let go of its pipes
            self._forget(process.pid)
        return completed

    async def _spawn(
        self, argv: Sequence[str], cwd: str | None, env: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        """Start the program. A cancellation meanwhile kills it before it is passed on."""
        if not argv:
            raise ActionError("bad_arguments", "argv is empty", retryable=False, details={"field": "argv"})
        pipe = asyncio.subprocess.PIPE
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *argv, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await _finish(_kill_started(starting, env[COOKIE]))
            raise
        except (FileNotFoundError, NotADirectoryError):
            raise ActionError("not_found", _what_is_missing(argv[0], cwd), retryable=False) from None
        except (OSError, ValueError) as error:
            raise ActionError("not_executable", f"{argv[0]}: {error}", retryable=False) from None

    def _watch(self, group: int) -> None:
        """Have the guard kill `group` if the agent dies."""
        self._groups.add(group)
        self._tell(b"+%d\n" % group)

    def _forget(self, group: int) -> None:
        self._groups.discard(group)
        self._tell(b"-%d\n" % group)

    def _tell(self, line: bytes) -> None:
        """Write to the guard, starting it when first needed and again should it have been killed."""
        try:
            if self._guard is None:
                self._guard, line = _start_guard(), b"".join(b"+%d\n" % group for group in self._groups)
            stream = self._guard.stdin
            assert stream is not None  # noqa: S101 - it was asked for
            stream.write(line)
        except BrokenPipeError:
            self.close()
            if self._groups:
                self._tell(b"")

    def close(self) -> None:
        """Let the guard go; nothing may be running any more."""
        guard, self._guard = self._guard, None
        if guard is not None:
            with guard:  # closes its input, which ends it, and waits for it
                pass


def _what_is_missing(program: str, cwd: str | None) -> str:
    if cwd is not None and not Path(cwd).is_dir():
        return f"the directory {cwd} does not exist"
    return f"the program {program} was not found"


def _start_guard() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        bufsize=0,
    )


def _base_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in SECRET_VARIABLES and not name.startswith(SECRET_PREFIX)
    }


async def _converse(
    process: asyncio.subprocess.Process, stdin: bytes, keep: int, *, fail_beyond: bool
) -> Completed:
    """Feed and read the program until it has ended."""
    assert process.stdout is not None  # noqa: S101 - pipes were asked for
    assert process.stderr is not None  # noqa: S101
    stdout, stderr = Tail(keep), Tail(keep)
    talk = asyncio.gather(
        _feed(process, stdin),
        _read(process.stdout, stdout, fail_beyond=fail_beyond),
        _read(process.stderr, stderr, fail_beyond=False),
    )
    exit_ = asyncio.ensure_future(_exit_of(process))
    try:
        await asyncio.wait((talk, exit_), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((talk,), timeout=DRAIN_AFTER_EXIT if exit_.done() else 0)
        if talk.done():
            talk.result()  # raises what the program did wrong
            return Completed(await process.wait(), stdout, stderr)
        return Completed(exit_.result(), stdout, stderr)
    finally:
        talk.cancel()
        exit_.cancel()
        await asyncio.gather(talk, exit_, return_exceptions=True)


async def _exit_of(process: asyncio.subprocess.Process) -> int:
    """The exit code, also while a child of the program holds its pipes open, which `wait` would wait for."""
    while process.returncode is None:  # noqa: ASYNC110 - nothing else tells of it
        await asyncio.sleep(_POLL)
    return process.returncode


async def _feed(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    """Write the program's input; a program need not read it, and may have ended before this."""
    stream = process.stdin
    assert stream is not None  # noqa: S101 - a pipe was asked for
    # RuntimeError is uvloop's word for a pipe that is closed.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
        stream.write(stdin)
        await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader, tail: Tail, *, fail_beyond: bool) -> None:
    while chunk := await stream.read(_CHUNK):
        tail.add(chunk)
        if fail_beyond and tail.truncated:
            raise ActionError(
                "output_too_large", f"the program printed more than {tail.keep} bytes", retryable=False
            )


async def _kill_started(starting: asyncio.Future[asyncio.subprocess.Process], cookie: str) -> None:
    """Kill a program that was being started when its action was stopped."""
    try:
        process = await starting
    except (OSError, ValueError):
        return  # it never started
    await kill_tree(process.pid, cookie)
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001


async def _finish(work: Awaitable[None]) -> None:
    """Await `work` to its end even when cancelled again meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)


async def kill_tree(group: int, cookie: str) -> None:
    """SIGTERM to the group, SIGKILL after a grace, then SIGKILL to whatever left the group."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TERM_GRACE
    _signal_group(group, signal.SIGTERM)
    while _signal_group(group, 0) and loop.time() < deadline:  # noqa: ASYNC110 - nothing tells of its end
        await asyncio.sleep(_POLL)
    _signal_group(group, signal.SIGKILL)
    await kill_marked([cookie])


async def kill_marked(cookies: Iterable[str]) -> None:
    """SIGKILL every process started for one of these commands, daemons included. Linux; elsewhere nothing."""
    marks = frozenset(f"{COOKIE}={cookie}".encode() for cookie in cookies)
    for _ in range(_STRAY_ROUNDS):
        strays = await asyncio.to_thread(_marked, marks)
        if not strays:
            return
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_POLL)


def _marked(marks: frozenset[bytes]) -> list[int]:
    """Processes whose environment has one of `marks`; what may not be read is not ours."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = entry.read_bytes()
        except OSError:
            continue
        if any(mark in environment for mark in marks) and marks.intersection(environment.split(b"\0")):
            found.append(int(entry.parent.name))
    return found


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
