"""A private RabbitMQ node: loopback only, on free ports, with its own data, gone when its owner is.

The machine's own broker, should there be one, is never used, stopped or configured. `python -m
orchestrator.local.broker -- CMD ARG…` runs a command with `BATON_AMQP_URL` set to such a node; with
`--find` in place of a command it only says whether a node can be had here (exit status 0 or 3).

How the pieces die. A small shell guard leads a process group of its own that holds epmd and the node; the
owner holds the write end of the guard's stdin. When that pipe closes, because the owner stopped the node
or because it was killed, the guard ends the node and then the whole group. A lock on `<directory>/lock`
is held by every process of the group, so whoever gets the lock knows that nothing is left running.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Self

import aio_pika

from orchestrator.local.launch import Launch, docker_runs, find_server, in_container, native
from schemas.errors import BatonError, Conflict, InternalError, Unreachable

__all__ = ["PrivateBroker", "broker_url"]

BASE = Path(".baton")
STOP_TIMEOUT = 20  # seconds a node has to close its files before it is killed
SWEEP_AGE = 60  # seconds; a younger directory may be one whose owner is about to lock it
BOOT_TRIES = 3  # a port can be taken between our look and the node's

# Run with `sh -c`. $1 is epmd's path or empty, $2 epmd's port, the rest the server's command line.
# fd 3 is kept because a shell gives its background jobs /dev/null as stdin.
GUARD = f"""
epmd=$1 port=$2; shift 2; exec 3<&0 </dev/null
if [ -n "$epmd" ]; then "$epmd" -address 127.0.0.1 -port "$port" & fi
"$@" & server=$!
{{ cat <&3 >/dev/null; kill -TERM $server; sleep {STOP_TIMEOUT}; kill -KILL 0; }} &
wait $server
kill -KILL 0
"""


def _try_lock(path: Path) -> int | None:
    """A file descriptor that holds the lock on a file or directory; None while somebody else does."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _abandoned(home: Path) -> bool:
    """Whether the owner of this directory was killed and its processes are gone."""
    with contextlib.ExitStack() as held:
        for path in (home, home / "lock"):
            fd = _try_lock(path) if path.exists() else -1
            if fd is None:
                return False
            if fd >= 0:
                held.callback(os.close, fd)
        return time.time() - home.stat().st_mtime > SWEEP_AGE


def _sweep(base: Path) -> None:
    """Remove the data that owners killed by SIGKILL could not remove."""
    for home in base.glob("broker-*"):
        with contextlib.suppress(FileNotFoundError):  # another sweep was faster
            if _abandoned(home):
                shutil.rmtree(home, ignore_errors=True)


async def _until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds; False when it did not within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


class PrivateBroker:
    """One private node, as an async context manager or by `start` and `stop`.

    With `home` the data stays there for the next start, as `baton up` wants it. Without, the node works in a
    new directory below `base` that `stop` removes. `url` is an AMQP URL with a password of its own, since
    loopback is shared with everybody who has an account on the machine. An object may be used from one event
    loop after another: nothing in it belongs to a loop.
    """

    def __init__(self, home: Path | None = None, *, base: Path = BASE) -> None:
        self._keep = home is not None
        self._base = base.resolve()
        self.home = home.resolve() if home else self._base / f"broker-{secrets.token_hex(4)}"
        self.url = ""
        self._port = 0
        self._owner: int | None = None
        self._launch: Launch | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def running(self) -> bool:
        """Whether the node's processes are alive."""
        return self._guard is not None and self._guard.poll() is None

    async def start(self) -> None:
        """Boot the node and return once it takes AMQP connections.

        Raises `Unreachable` when there is nothing to run or it does not come up, with the end of its log, and
        `Conflict` when another process has a node in the same `home`.
        """
        self._claim()
        try:
            await self._boot()
        except BaseException:
            await asyncio.shield(self._discard())
            raise

    async def stop(self) -> None:
        """Let the node close its files, then end every process of it. Throwaway data is removed."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await self._ended(STOP_TIMEOUT + 10)
        await self._discard()

    async def kill(self) -> None:
        """SIGKILL to every process of the node, as when the machine loses power; the data stays.

        Waits first until the names of all quorum queues are on disk. RabbitMQ before 4.0 writes them up to a
        second after it confirmed a declaration, and a node killed in between has lost that queue for good
        (rabbitmq/ra pull request 443): a fault of that second only, which nobody here can do anything about.
        """
        await _until(self._names_on_disk, 5)
        await self._kill()

    async def _kill(self) -> None:
        """SIGKILL at once."""
        if self._guard is None:
            return
        if self._launch is not None and self._launch.kill:
            await asyncio.to_thread(subprocess.run, self._launch.kill, capture_output=True, check=False)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        await self._ended(10)

    async def restart(self) -> None:
        """End the node, gracefully if it still runs, and boot it again on the same data and port."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await self._ended(STOP_TIMEOUT + 10)
        self._spawn()
        if not await self._ready():
            await self._kill()
            raise self._not_up()

    async def _boot(self) -> None:
        """Try until a node is up; again only if it ended by itself, as on a port that was taken meanwhile."""
        for _ in range(BOOT_TRIES):
            self._launch = self._plan()
            self._spawn()
            if await self._ready():
                return
            too_slow = self.running
            await self._kill()
            if too_slow:
                break
        raise self._not_up()

    def _claim(self) -> None:
        """Make the directory ours."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._keep:
            _sweep(self._base)
        (self.home / "lock").touch()
        self._owner = _try_lock(self.home)
        if self._owner is None:
            raise Conflict(
                f"Another process has a broker in {self.home}.", hint="Stop it first; is it baton up?"
            )

    def _plan(self) -> Launch:
        """Choose how to run the node and on which ports."""
        secret = self.home / "password"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_hex(16))
        password = secret.read_text()
        if server := find_server():
            launch, port = native(server, self.home, password)
        elif docker_runs():
            launch, port = in_container(self.home, password)
        else:
            raise Unreachable(
                "There is no RabbitMQ on this machine to start a private node of.",
                hint="Install the package rabbitmq-server, start Docker, or set BATON_AMQP_URL.",
            )
        self._port = port
        self.url = f"amqp://baton:{password}@127.0.0.1:{port}/"
        return launch

    def _spawn(self) -> None:
        """Start the guard, which starts the rest; the lock's descriptor lives on in its processes only."""
        if self._launch is None:
            raise InternalError("The broker was never started.", hint="Call start() first.")
        lock = _try_lock(self.home / "lock")
        if lock is None:
            raise Conflict(
                f"A broker of an earlier start still runs in {self.home}.", hint="Wait for its end."
            )
        with contextlib.closing(os.fdopen(lock)), (self.home / "node.log").open("ab") as log:
            self._guard = subprocess.Popen(
                ["sh", "-c", GUARD, "baton-broker", *self._launch.argv],
                env=self._launch.env,
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
            )

    async def _ready(self) -> bool:
        """True on the first AMQP connection; False if the node ends or the time is up before."""
        deadline = time.monotonic() + (self._launch.boot_timeout if self._launch else 0)
        while self.running and time.monotonic() < deadline:
            with contextlib.suppress(OSError, TimeoutError, aio_pika.exceptions.AMQPError):
                # A plain connect first: the AMQP library would log a warning for every refusal.
                _, probe = await asyncio.open_connection("127.0.0.1", self._port)
                probe.close()
                connection = await aio_pika.connect(self.url, timeout=5)
                await connection.close()
                return True
            await asyncio.sleep(0.1)
        return False

    async def _ended(self, seconds: float) -> None:
        """Reap the guard and wait until no process of its group is left."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        if not await _until(lambda: guard.poll() is not None, seconds):
            os.killpg(guard.pid, signal.SIGKILL)
            await _until(lambda: guard.poll() is not None, 5)
        if guard.stdin is not None:
            guard.stdin.close()
        if not await _until(self._unlocked, 5):
            raise InternalError(f"Processes of the broker in {self.home} would not end.", hint="See `ps`.")

    def _names_on_disk(self) -> bool:
        """Whether RabbitMQ's tables of queue names are written out: byte 11 of a DETS file says so."""
        return all(
            table.read_bytes()[8:12] == b"\0\0\0\1" for table in self.home.glob("data/*/*/*/names.dets")
        )

    def _unlocked(self) -> bool:
        fd = _try_lock(self.home / "lock")
        if fd is not None:
            os.close(fd)
        return fd is not None

    async def _discard(self) -> None:
        """Give the directory up: end what runs, and remove what nobody needs again."""
        await self._kill()
        if not self._keep:
            if self._launch is not None and self._launch.forget:
                await asyncio.to_thread(subprocess.run, self._launch.forget, capture_output=True, check=False)
            shutil.rmtree(self.home, ignore_errors=True)
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def _not_up(self) -> BatonError:
        """The error of a node that would not boot, with the end of its log."""
        log = self.home / "node.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        last = "\n".join(line for line in lines[-40:] if line.strip())
        return Unreachable(
            f"The private RabbitMQ node did not come up. The end of its log:\n{last}",
            hint="Set BATON_AMQP_URL to a broker that runs.",
        )


@contextlib.asynccontextmanager
async def broker_url(base: Path = BASE) -> AsyncIterator[str]:
    """The broker to use: `BATON_AMQP_URL` if it is set, else a private node for as long as the block runs."""
    if given := os.environ.get("BATON_AMQP_URL"):
        yield given
        return
    async with PrivateBroker(base=base) as broker:
        yield broker.url


async def _run(command: list[str]) -> int:
    """Run a command beside a broker; gives its exit status.

    Ctrl-C reaches the command from the terminal, SIGTERM through us.
    """
    async with broker_url() as url:
        child = await asyncio.create_subprocess_exec(*command, env=os.environ | {"BATON_AMQP_URL": url})
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, child.terminate)
        return await child.wait()


def main(argv: Iterable[str] | None = None) -> int:
    """The command line of this module; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.local.broker", description=__doc__)
    parser.add_argument("--find", action="store_true", help="only say whether a node can be had here")
    parser.add_argument("command", nargs="*", metavar="CMD", help="run this with BATON_AMQP_URL set")
    args = parser.parse_args(None if argv is None else list(argv))
    if args.find:
        return 0 if os.environ.get("BATON_AMQP_URL") or find_server() or docker_runs() else 3
    if not args.command:
        parser.error("a command is missing")
    try:
        return asyncio.run(_run(args.command))
    except KeyboardInterrupt:
        return 130
    except BatonError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)  # noqa: T201  # a command's own words
        return 3


if __name__ == "__main__":
    sys.exit(main())
