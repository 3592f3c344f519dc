"""`baton-agent`: the command line of an agent.

Exit codes: 0 stopped as asked, 1 something made going on impossible, 2 usage, 3 cannot reach what it needs.
"""

import argparse
import asyncio
import importlib.metadata
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agents.jobs import NoTelemetry, Telemetry
from agents.journal import Journal
from agents.loading import load_actions
from agents.redaction import HidingFormatter
from agents.runtime import AgentRuntime
from agents.sdk import Action
from agents.secrets import Secrets
from agents.settings import Settings, declarations
from runtime.bus.amqp import AmqpBus
from runtime.lock import StateLock
from runtime.logs import set_up_logging
from runtime.otlp import tracer_provider
from runtime.service import run
from schemas.errors import BatonError, Conflict, InvalidInput, Unreachable
from schemas.names import Topology, check_name

__all__ = ["main"]

DEFAULT_URL: Final = "amqp://guest:guest@127.0.0.1:5672/"
FAILED, USAGE, UNREACHABLE = 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run an agent until SIGTERM or SIGINT; a second signal kills what still runs. Returns the exit code."""
    options = _parser(os.environ).parse_args(argv)
    try:
        set_up_logging()
        settings = _settings(options)
        for handler in logging.getLogger().handlers:
            handler.setFormatter(HidingFormatter(handler.formatter, settings.secrets.hide))
        programs = [_program(text, "--program") for text in options.program]
        probes = [_program(text, "--probe") for text in options.probe]
        actions = load_actions(options.module, programs, probes)
        return _run(settings, actions, options.amqp)
    except BatonError as error:
        sys.stderr.write(f"baton-agent: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        if isinstance(error, Unreachable):
            return UNREACHABLE
        return USAGE if isinstance(error, InvalidInput | Conflict) else FAILED


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The flags. Each `--x-y` that takes one value is also `BATON_…` in the environment."""
    parser = argparse.ArgumentParser(
        prog="baton-agent", description="Carries out a coordinator's commands on this host."
    )
    add = parser.add_argument
    add("--amqp", metavar="URL", default=environment.get("BATON_AMQP_URL") or DEFAULT_URL,
        help="the broker (BATON_AMQP_URL)")  # fmt: skip
    add("--name", default=environment.get("BATON_AGENT_NAME") or socket.gethostname(),
        help="this agent's name; default: the host's (BATON_AGENT_NAME)")  # fmt: skip
    add("--state-dir", metavar="DIR", default=environment.get("BATON_STATE_DIR") or "",
        help="where the journal is; default: .baton/agents/NAME (BATON_STATE_DIR)")  # fmt: skip
    add("--namespace", default=environment.get("BATON_NAMESPACE") or "baton",
        help="prefix of exchanges and queues (BATON_NAMESPACE)")  # fmt: skip
    add("--agent-queue-type", choices=("quorum", "classic"),
        default=environment.get("BATON_AGENT_QUEUE_TYPE") or "quorum",
        help="classic serves fleets of thousands (BATON_AGENT_QUEUE_TYPE)")  # fmt: skip
    add("--concurrency", metavar="N", default=environment.get("BATON_AGENT_CONCURRENCY") or "16",
        help="actions that run at once; default 16 (BATON_AGENT_CONCURRENCY)")  # fmt: skip
    add(
        "--label",
        metavar="K=V",
        action="append",
        default=[],
        help="what a workflow may select by; repeatable",
    )
    add(
        "--pool", metavar="POOL", action="append", default=[], help="compete for this pool's work; repeatable"
    )
    add("--module", metavar="FILE.py", action="append", type=Path, default=[],
        help="a Python file with actions; repeatable")  # fmt: skip
    add("--program", metavar="NAME=PATH", action="append", default=[],
        help="an action that is a program: JSON in, JSON out; repeatable")  # fmt: skip
    add("--probe", metavar="NAME=PATH", action="append", default=[],
        help="a program that finds out what became of a lost attempt of that action; repeatable")  # fmt: skip
    add("--secrets", metavar="DIR",
        default=environment.get("BATON_AGENT_SECRETS") or environment.get("CREDENTIALS_DIRECTORY") or "",
        help="has a file for each secret; default: $CREDENTIALS_DIRECTORY (BATON_AGENT_SECRETS)")  # fmt: skip
    add("--version", action="version", version=f"baton-agent {_version()}")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    name = check_name(options.name, "agent's name")
    return Settings(
        name=name,
        state_dir=Path(options.state_dir or Path(".baton") / "agents" / name),
        topology=Topology(options.namespace),
        labels=dict(_pair(text, "--label") for text in options.label),
        pools=tuple(dict.fromkeys(check_name(pool, "pool's name") for pool in options.pool)),
        concurrency=_count(options.concurrency),
        queue_type=options.agent_queue_type,
        version=_version(),
        secrets=_secrets(options.secrets),
    )


def _secrets(directory: str) -> Secrets:
    if directory and not Path(directory).is_dir():
        raise InvalidInput(
            f"--secrets {directory}: no such directory",
            code="bad_flag",
            hint="make it, or leave --secrets out",
        )
    return Secrets(Path(directory) if directory else None)


def _pair(text: str, flag: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidInput(f"{flag} {text}: no '='", code="bad_flag", hint=f"write {flag} NAME=VALUE")
    return key, value


def _program(text: str, flag: str) -> tuple[str, Path]:
    name, path = _pair(text, flag)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,126}", name):
        raise InvalidInput(
            f"'{name}' is not an action name", code="bad_name", hint="letters, digits, '.', '_', '-'"
        )
    return name, Path(path)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 10_000:  # noqa: PLR2004 - a bound far beyond sense
        raise InvalidInput(
            f"'{text}' is not a concurrency", code="bad_flag", hint="give a number from 1 to 10000"
        )
    return int(text)


def _version() -> str:
    try:
        return importlib.metadata.version("baton-orchestrator")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _run(settings: Settings, actions: dict[str, Action], url: str) -> int:
    """Take the state directory and serve."""
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidInput(
            f"cannot make {settings.state_dir}: {error.strerror}", hint="give another with --state-dir"
        ) from None
    journal = settings.state_dir / "journal.db"
    lock = StateLock(journal)
    lock.acquire()
    try:
        run(_serve(settings, actions, url, journal))
    finally:
        lock.release()
    return 0


async def _serve(settings: Settings, actions: dict[str, Action], url: str, journal: Path) -> None:
    bus = AmqpBus(url, declarations(settings), name=f"baton-agent {settings.name}")
    telemetry = _telemetry(settings)
    runtime = AgentRuntime(settings, actions, bus, Journal(journal), telemetry)
    stop = asyncio.Event()

    def stopped() -> None:
        if stop.is_set():
            runtime.hurry()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped)
    try:
        await runtime.run(stop)
    finally:
        await telemetry.shut_down()


def _telemetry(settings: Settings) -> Telemetry:
    """Telemetry, where an endpoint is set; else OpenTelemetry is not even imported."""
    provider = tracer_provider(
        "baton-agent",
        {
            "service.namespace": settings.topology.namespace,
            "service.instance.id": settings.name,
            "service.version": settings.version,
            "host.name": socket.gethostname(),
        },
    )
    if provider is None:
        return NoTelemetry()
    from agents.telemetry import Spans

    return Spans(provider, settings)
