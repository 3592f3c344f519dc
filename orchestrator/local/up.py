"""`baton up`: a broker unless one is given, a coordinator and an agent named `local`, all on this machine.

Each is a process of its own, behind a small shell guard that ends it when this process closes the guard's
stdin, or is gone, however that came. So nothing is left behind, also after SIGKILL.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, Self

import orchestrator
from orchestrator.cli.client import ApiClient
from orchestrator.cli.output import say
from orchestrator.local.broker import PrivateBroker
from orchestrator.settings import Settings
from runtime.bus.session import place
from schemas.errors import InternalError, Unreachable

__all__ = ["run_all"]

HOME: Final = Path(".baton")
AGENT: Final = "local"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
LOG_LINES: Final = 20

# Run with `sh -c`; the rest is the command. fd 3 keeps the pipe, as a shell gives background jobs /dev/null.
GUARD: Final = f"""
exec 3<&0 </dev/null
"$@" 3<&- & child=$!
{{ cat <&3 >/dev/null; kill -TERM $child
   for second in $(seq {STOP_SECONDS:.0f}); do sleep 1; done; kill -KILL 0; }} & watch=$!
wait $child; status=$?
kill $watch
exit $status
"""

HELLO: Final = """\
# Written by `baton up` as something to try.
workflow: hello
description: Say hello on this machine.
triggers:
  - event: com.example.hello
    input: {name: "${{ event.data.name }}"}
input:
  type: object
  required: [name]
  properties: {name: {type: string}}
steps:
  - id: greet
    action: exec.run
    target: local
    with: {argv: [echo, "hello ${{ input.name }}"]}
output: {said: "${{ steps.greet.output.stdout }}"}
"""


class Child:
    """A process of ours: its output goes to a log, its end is that of this process at the latest."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self.ended = asyncio.create_task(process.wait(), name=name)

    @classmethod
    async def start(cls, name: str, module: str, arguments: list[str], extra: dict[str, str]) -> Self:
        """Run a module of ours; `extra` goes to its environment."""
        log = HOME / f"{name}.log"
        root = str(Path(orchestrator.__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, **extra, "PYTHONPATH": os.pathsep.join(paths)}
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", GUARD, f"baton-{name}", sys.executable, "-m", module, *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        return cls(name, process, log)

    async def stop(self) -> None:
        """Ask it to end, wait, and leave nothing of its process group."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.wait((self.ended,), timeout=STOP_SECONDS + 1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self.ended

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-LOG_LINES:])


async def run_all(settings: Settings, *, broker_given: bool) -> None:
    """Start everything, say how to try it, and end everything on SIGINT, SIGTERM, SIGHUP or a failure.

    Raises `BatonError` when a part does not start, or ends by itself.
    """
    HOME.mkdir(exist_ok=True)
    main = asyncio.current_task()
    if main is None:
        raise InternalError("run_all runs in a task")
    with _signals(main) as asked:
        try:
            async with _everything(settings, broker_given=broker_given) as children:
                ended, _ = await asyncio.wait(
                    [child.ended for child in children], return_when=asyncio.FIRST_COMPLETED
                )
                raise _failure(next(child for child in children if child.ended in ended))
        except asyncio.CancelledError:
            if not asked:
                raise
            main.uncancel()
    with contextlib.suppress(OSError):
        say("everything is stopped; the data stays in .baton")


@contextlib.asynccontextmanager
async def _everything(settings: Settings, *, broker_given: bool) -> AsyncIterator[list[Child]]:
    """All parts, up and ready, for as long as the block runs."""
    async with contextlib.AsyncExitStack() as closing:
        url = settings.amqp_url
        where = f"{place(url)} (given)"
        if not broker_given:
            say("starting a private RabbitMQ node, which takes a few seconds …")
            broker = await closing.enter_async_context(PrivateBroker(HOME / "broker"))
            url = broker.url
            where = f"{place(url)} (private; its URL with the password is in {_keep(url)})"
        shared = {"BATON_AMQP_URL": url, "BATON_NAMESPACE": settings.namespace, "BATON_TOKEN": settings.token}
        options = ["coordinator", "--db", settings.db, "--listen", settings.listen]
        coordinator = await Child.start("coordinator", "orchestrator.cli", options, shared)
        closing.push_async_callback(coordinator.stop)
        client = ApiClient(f"http://{settings.listen}", settings.token)
        await _until(coordinator, lambda: client.get("/health/ready"))
        state = HOME / "agents" / AGENT
        options = ["--name", AGENT, "--state-dir", str(state)]
        agent = await Child.start("agent", "agents", options, shared)
        closing.push_async_callback(agent.stop)
        await _until(agent, lambda: _announced(client))
        say(f"broker       {where}")
        say(f"coordinator  http://{settings.listen}, database {settings.db}, log {coordinator.log}")
        say(f"agent        {AGENT}, state in {state}, log {agent.log}")
        _say_how(settings)
        yield [coordinator, agent]


def _keep(url: str) -> Path:
    """Leave the private broker's URL where publishers and further agents of this user find it."""
    path = HOME / "broker" / "url"
    path.touch(mode=0o600)
    path.write_text(f"{url}\n")
    return path


def _announced(client: ApiClient) -> bool:
    found = [agent["name"] for agent in client.get("/api/agents")["items"] if not agent["stopping"]]
    if AGENT not in found:
        raise Unreachable(f"the agent {AGENT} has not announced itself")
    return True


async def _until(child: Child, answers: Any) -> None:
    """Wait until `answers()` raises `Unreachable` no more; raise if the child ends or time is up."""
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            await asyncio.to_thread(answers)
        except Unreachable as error:
            if time.monotonic() > ends:
                raise Unreachable(
                    f"the {child.name} is not ready: {error.message}", hint=f"see {child.log}"
                ) from None
        else:
            return
        await asyncio.wait((child.ended,), timeout=0.1)
        if child.ended.done():
            raise _failure(child)


def _failure(child: Child) -> InternalError:
    words = child.last_words()
    return InternalError(f"the {child.name} has ended; the end of its log:\n{words}", code="part_ended")


def _say_how(settings: Settings) -> None:
    example = HOME / "hello.yaml"
    if not example.exists():
        example.write_text(HELLO)
    url = f"http://{settings.listen}"
    where = "" if url == settings.url else f" --url {shlex.quote(url)}"
    say(
        "\nTry, in another terminal in this directory:\n"
        f"  baton apply {example}{where}\n"
        f'  baton start hello --input \'{{"name": "world"}}\' --wait{where}\n'
        f'  baton emit com.example.hello --data \'{{"name": "event"}}\'{where}\n'
        "\nCtrl-C stops everything."
    )


@contextlib.contextmanager
def _signals(main: asyncio.Task[Any]) -> Iterator[list[int]]:
    """The first signal cancels `main` and is noted; further ones change nothing, as the end is under way."""
    loop, asked = asyncio.get_running_loop(), list[int]()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def first(number: int) -> None:
        if not asked:
            asked.append(number)
            main.cancel()
            with contextlib.suppress(OSError):  # with SIGHUP the terminal is gone
                say("stopping …")

    for number in numbers:
        loop.add_signal_handler(number, first, number)
    try:
        yield asked
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
