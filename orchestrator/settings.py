"""Settings: a flag, then the environment (`BATON_…`), then `baton.toml`, then the default.

Every limit has its name here.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from orchestrator.core.costs import MAX_EXPRESSION_COST
from orchestrator.core.inputs import Limits
from schemas.codec import MAX_EVENT_BYTES, MAX_MESSAGE_BYTES, MAX_OUTPUT_BYTES
from schemas.errors import InvalidInput
from schemas.names import NAME_PATTERN
from schemas.workflow import MAX_EXPRESSION, MAX_STEPS

__all__ = ["CONFIG_FILE", "Settings", "limits_of", "load_settings"]

CONFIG_FILE = "baton.toml"

_SECRET = frozenset({"token", "amqp_url", "amqp_management_url"})
"""Settings that hold a password, whose values no error may show."""

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set. Each field `x` is `BATON_X` in the environment and `x` in `baton.toml`."""

    amqp_url: str = "amqp://guest:guest@127.0.0.1:5672/"
    amqp_management_url: str = ""
    """Where RabbitMQ's management API is. Nothing reads it yet."""
    db: str = ".baton/baton.db"
    listen: str = "127.0.0.1:8040"
    url: str = "http://127.0.0.1:8040"
    token: str = ""
    namespace: Annotated[str, Meta(pattern=NAME_PATTERN)] = "baton"
    shard: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$(?!\n)")] = "0"

    max_active_runs: Positive = 1_000
    """New runs are admitted only while fewer are active; further events wait on the broker."""
    max_queued_runs: Positive = 10_000
    """Events are taken in only while fewer runs wait for room in their concurrency group."""
    max_batch: Positive = 500
    """Most messages decided in one transaction."""
    max_batch_seconds: Annotated[float, Meta(ge=0)] = 0.1
    """How long that may take, so that others have their turn; the rest waits for the next."""
    max_move: Positive = 500
    """Most tasks of a run that one move begins, undoes or stops; the rest follows at once, in the next."""
    max_event_bytes: Annotated[int, Meta(ge=8 * 1024, le=MAX_MESSAGE_BYTES)] = MAX_EVENT_BYTES
    """Largest event; a larger one is a dead letter, and a step that would emit one fails."""
    max_output_bytes: Annotated[int, Meta(ge=1, le=MAX_OUTPUT_BYTES)] = MAX_OUTPUT_BYTES
    """Largest output of one step; a larger one fails the step. At most what agents send."""
    max_args_bytes: Annotated[int, Meta(ge=1, le=512 * 1024)] = 512 * 1024
    """Largest arguments of one command."""
    max_steps: Annotated[int, Meta(ge=1, le=MAX_STEPS)] = MAX_STEPS
    """Most steps of a document; one with more is not stored."""
    max_expression: Annotated[int, Meta(ge=1, le=MAX_EXPRESSION)] = MAX_EXPRESSION
    """Most characters of an expression; a document with a longer one is not stored."""
    max_expression_cost: Annotated[int, Meta(ge=1, le=MAX_EXPRESSION_COST)] = MAX_EXPRESSION_COST
    """How many times an expression may repeat its data; a document with a costlier one is not stored."""
    max_fan_out: Positive = 10_000
    """Most hosts or items of one step; with more it fails."""
    max_child_depth: Positive = 8
    """How deep child runs may be nested; a step that would start a deeper one fails."""
    max_event_hops: Positive = 100
    """How many runs in a row may be started by what the one before emitted; the next event starts none."""
    max_history: Positive = 200_000
    """Most facts of one run; at so many it goes back."""
    max_wait_days: Annotated[int, Meta(ge=1, le=366)] = 366
    """Longest time that a step may wait or sleep."""
    keep_events: Seconds = 3_600.0
    """How long an event is kept for steps that come to wait for it."""
    max_kept_events: Positive = 10_000
    """Most events kept for that; of more the oldest go."""
    agent_live_for: Seconds = 100.0
    """How long an agent counts as live after an announcement."""
    query_every: Seconds = 30.0
    """How soon agents are asked again about an attempt in doubt, at first."""
    start_within: Seconds = 60.0
    """How long a command may wait for an agent to take it."""
    grace: Seconds = 30.0
    """How long past an attempt's own limits its outcome is awaited before it is in doubt."""
    inbox_days: Positive = 30
    """How long a handled event is remembered, so that it is not handled again."""
    reconcile_every: Seconds = 60.0
    """How often the coordinator looks for a live run that nothing would move."""
    lifecycle: Literal["off", "runs", "steps"] = "steps"
    """Which lifecycle events are published: none, those of runs, or those of runs and steps."""


def limits_of(settings: Settings) -> Limits:
    """The bounds that runs are held to."""
    return Limits(
        fan_out=settings.max_fan_out,
        child_depth=settings.max_child_depth,
        history=settings.max_history,
        wait=settings.max_wait_days * 86_400_000_000,
        args_bytes=settings.max_args_bytes,
        output_bytes=settings.max_output_bytes,
        event_bytes=settings.max_event_bytes,
        at_once=settings.max_move,
    )


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Settings from flags (None is unset), then the environment, then `baton.toml` in `directory`."""
    environment = os.environ if environment is None else environment
    merged: dict[str, Any] = _read_file((directory or Path.cwd()) / CONFIG_FILE)
    sources = dict.fromkeys(merged, CONFIG_FILE)
    for name in Settings.__struct_fields__:
        variable = f"BATON_{name.upper()}"
        if environment.get(variable, "") != "":
            merged[name] = environment[variable]
            sources[name] = variable
        if flags is not None and flags.get(name) is not None:
            merged[name] = flags[name]
            sources[name] = f"--{name.replace('_', '-')}"
    for name, value in merged.items():
        _check(name, value, sources[name])
    return msgspec.convert(merged, Settings, strict=False)


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", code="bad_settings") from None


def _check(name: str, value: Any, source: str) -> None:
    """Say which setting is wrong and where it came from."""
    known = Settings.__struct_fields__
    if name not in known:
        raise InvalidInput(
            f"{source}: there is no setting '{name}'",
            code="bad_settings",
            hint=f"settings are {', '.join(known)}",
        )
    try:
        msgspec.convert({name: value}, Settings, strict=False)
    except msgspec.ValidationError as error:
        shown = "…" if name in _SECRET else repr(value)
        raise InvalidInput(f"{source}: {name} = {shown}: {error}", code="bad_settings") from None
