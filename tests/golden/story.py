"""A run as it is told in a golden file: what happened to it, and what came of that, in stored form.

document, version   what it ran by, as stored; `others`: versions that it was moved to
settings            what of `Env` does not change while it runs
head, queued, kept  how it started
moves               each with `now`, `jitter`, `epoch`, the `hosts` if they changed, the `input` (none for the
start), and what came of it: `facts`, `commands`, `children`, `emissions`, `signals`
state               the run at its end, as in the column `state` of the store
decided_otherwise   if not empty: why this version would decide otherwise; only the history is compared
"""

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from orchestrator.core import inputs, machine
from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import Definition
from orchestrator.core.evolution import fold
from orchestrator.core.facts import Fact
from orchestrator.core.inputs import Env, Input, Limits, Move, MoveRun
from orchestrator.core.model import Run, RunHead, Task
from orchestrator.core.registry import Host, Registry
from orchestrator.store import rows
from schemas.workflow import Workflow
from tests.support.machine import Saga

__all__ = ["FILES", "Recorded", "Story", "StoryMove", "Version", "tell"]

FILES: Final = Path(__file__).parent / "histories"
Json = dict[str, Any]
_LASTING: Final = ("start_within", "grace", "query_every", "limits")
_SENT: Final = ("commands", "children", "emissions", "signals")


class Version(Struct, omit_defaults=True):
    """A document as stored, and the hash of its content."""

    version: str
    document: Json


class StoryMove(Struct, omit_defaults=True):
    """One input and what came of it."""

    now: int
    facts: list[Json]
    input: Json | None = None
    hosts: list[Json] | None = None
    jitter: float = 0.5
    epoch: int = 1
    commands: list[Json] = []
    children: list[Json] = []
    emissions: list[Json] = []
    signals: list[Json] = []


class Story(Struct, omit_defaults=True):
    """See the module."""

    about: str
    document: Version
    head: Json
    settings: Json
    moves: list[StoryMove]
    state: Json
    others: list[Version] = []
    queued: bool = False
    kept: dict[str, list[Json]] | None = None
    live_for: int = 10**15
    decided_otherwise: str = ""

    def definitions(self) -> dict[str, Definition]:
        """The compiled documents by the version that the file gives them."""
        return {
            one.version: compile_definition(_struct(one.document, Workflow))
            for one in (self.document, *self.others)
        }

    def folded(self) -> Run:
        """The state that the stored facts lead to."""
        facts: list[Fact] = [rows.fact_of(_text(fact)) for move in self.moves for fact in move.facts]
        return fold(_struct(self.head, RunHead), facts)

    def stored(self) -> Run:
        """The stored state."""
        return rows.run_of(_text(self.head), _text(self.state))

    def decided(self) -> list[StoryMove]:
        """What this version makes of the same inputs."""
        told, run, hosts = [], None, None
        definitions = self.definitions()
        for move in self.moves:
            hosts = move.hosts if move.hosts is not None else hosts
            env = self._env(move, hosts or [])
            if run is None:
                made = self._start(definitions[self.document.version], env)
            else:
                given = _input(move.input or {}, definitions)
                made = machine.apply(definitions[run.version], run, given, env)
            run = made.run
            told.append(told_move(move, made))
        return told

    def _start(self, definition: Definition, env: Env) -> Move:
        head = _struct(self.head, RunHead)
        kept = None if self.kept is None else _struct(self.kept, dict[str, tuple[Task, ...]])
        return machine.start(definition, head, env, queued=self.queued, kept=kept)

    def _env(self, move: StoryMove, hosts: list[Json]) -> Env:
        known = Registry(live_for=self.live_for)
        for host in _struct(hosts, list[Host]):
            known.put(host)
        # The world is not stored with a run: what this version no longer asks of it is left out.
        settings = {name: value for name, value in self.settings.items() if name in Env.__struct_fields__}
        settings["limits"] = _struct(self.settings["limits"], Limits)
        return Env(now=move.now, jitter=move.jitter, epoch=move.epoch, registry=known, **settings)


def told_move(move: StoryMove, made: Move) -> StoryMove:
    """The same move with what came of it this time."""
    sent = {name: [_plain(one) for one in getattr(made, name)] for name in _SENT}
    return msgspec.structs.replace(move, facts=[_plain(fact) for fact in made.facts], **sent)


class Recorded(Saga):
    """A run that is driven as in other tests, and told."""

    def __init__(self, *steps: Json, **more: Any) -> None:
        self.moves: list[StoryMove] = []
        self.others: list[Version] = []
        self.queued = more.get("queued", False)
        self.kept = more.get("kept")
        self._given: Input | None = None
        self._hosts: list[Json] = []
        super().__init__(*steps, **more)
        self.document = _version(self.definition)

    def give(self, given: Input) -> Move:
        """Let something happen to the run; a refusal is no part of its history."""
        self._given = given
        move = super().give(given)
        if isinstance(given, MoveRun):
            self.definition = given.to
            self.others.append(_version(given.to))
        return move

    def _take(self, move: Move) -> Move:
        hosts = [_plain(host) for host in self.registry.hosts.values()]
        changed, self._hosts = (hosts if hosts != self._hosts else None), hosts
        told = StoryMove(now=self.now, facts=[], hosts=changed, input=_told_input(self._given))
        self.moves.append(told_move(told, move))
        return super()._take(move)

    def story(self, about: str) -> Story:
        """All of it."""
        env = self._env()
        *_, state = rows.run_changes(self.run)
        return Story(
            about=about,
            document=self.document,
            head=_plain(self.run.head),
            settings={name: _plain(getattr(env, name)) for name in _LASTING},
            moves=self.moves,
            state=msgspec.json.decode(state),
            others=self.others,
            queued=self.queued,
            kept=None if self.kept is None else _plain(self.kept),
        )


def tell(path: Path) -> Story:
    """The story in a file."""
    return msgspec.json.decode(path.read_bytes(), type=Story)


def _version(definition: Definition) -> Version:
    return Version(definition.version, _plain(definition.document))


def _told_input(given: Input | None) -> Json | None:
    if given is None:
        return None
    name = type(given).__name__
    if isinstance(given, MoveRun):
        return {"kind": name, "to": given.to.version, "who": given.who, "why": given.why}
    return {"kind": name, **{key: value for key, value in _plain(given).items() if key != "type"}}


def _input(told: Json, definitions: dict[str, Definition]) -> Input:
    """The input that was told."""
    fields = dict(told)
    kind = getattr(inputs, fields.pop("kind"))
    if kind is MoveRun:
        return MoveRun(to=definitions[fields["to"]], who=fields["who"], why=fields["why"])
    if tag := kind.__struct_config__.tag:
        fields["type"] = tag
    found: Input = _struct(fields, kind)
    return found


def _plain(value: Any) -> Any:
    """As JSON that was read again."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _struct(value: Any, kind: Any) -> Any:
    """A value of a kind, as it is read from stored JSON."""
    return msgspec.json.decode(_text(value), type=kind)


def _text(value: Any) -> bytes:
    return msgspec.json.encode(value)
