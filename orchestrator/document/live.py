"""A good document against the agents that announced themselves: whom it would reach, and with what.

Only what the text itself says can be checked. A target that an expression gives is told of as not checked; of
arguments that expressions give the names are checked, and what stands around them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct

from orchestrator.core.definition import Definition, Path
from orchestrator.core.lexing import secret_name, split_template
from orchestrator.document.arguments import Misfit, misfits
from orchestrator.document.diagnostics import Diagnostic
from orchestrator.document.reading import locate
from schemas.messages import ActionInfo
from schemas.workflow import Compensate, Selector, Step, Target

__all__ = ["Finding", "KnownAgent", "check_live"]

Level = Literal["error", "warning", "note"]

_MAX_NAMES: Final = 5


class KnownAgent(Struct, frozen=True):
    """What is needed of an item of `/api/agents`."""

    name: str
    live: bool
    seen_at: str
    pools: list[str]
    labels: dict[str, str]
    actions: list[ActionInfo]

    def offers(self, action: str) -> ActionInfo | None:
        """What it announced about an action."""
        return next((info for info in self.actions if info.name == action), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """`error`: a run would fail on it. `warning`: it would, as things are now. `note`: it was not checked."""

    level: Level
    diagnostic: Diagnostic

    def as_json(self) -> dict[str, Any]:
        """A diagnostic with its `level`."""
        return {"level": self.level, **self.diagnostic.as_json()}


class _Reach(NamedTuple):
    """Agents that a command may go to. `sure`: to any of these and no other, as far as is known."""

    agents: Sequence[KnownAgent]
    sure: bool = True


def check_live(
    text: str | bytes, name: str, definition: Definition, agents: Sequence[KnownAgent]
) -> list[Finding]:
    """What these agents have against the good document `text`, in its order; `name` stands for it."""
    check = _Check(sorted(agents, key=lambda agent: agent.name))
    for index, step in enumerate(definition.document.steps):
        check.step(step, ("steps", index))
    paths = [(path, message, hint) for _, path, message, hint in check.found]
    places = locate(text, name, paths)
    found = [Finding(level, place) for (level, *_), place in zip(check.found, places, strict=True)]
    return sorted(
        dict.fromkeys(found), key=lambda one: (one.diagnostic.line, one.diagnostic.column, one.level)
    )


class _Check:
    """One document's check. `found`: level, path, message, hint."""

    def __init__(self, agents: Sequence[KnownAgent]) -> None:
        self._agents = agents
        self.found: list[tuple[Level, Path, str, str]] = []

    def step(self, step: Step, path: Path) -> None:
        """Check a step's own command, and that of its undo."""
        reach = None if step.target is None else self._reach(step.target, (*path, "target"))
        if step.action is not None and reach is not None:
            self._command(step.action, step.with_, reach, path, undo=False)
        undo: Compensate | None = step.compensate
        if undo is None:
            return
        path = (*path, "compensate")
        if undo.target is not None:
            reach = self._reach(undo.target, (*path, "target"))
        if reach is not None:
            self._command(undo.action, undo.with_, reach, path, undo=True)

    # whom

    def _reach(self, target: Target, path: Path) -> _Reach:
        if isinstance(target, str):
            return self._named(target, path)
        if target.pool is not None:
            return self._pool(target.pool, (*path, "pool"))
        return self._labelled(target, (*path, "labels"))

    def _named(self, template: str, path: Path) -> _Reach:
        name = _constant(template)
        if name is None:
            return self._unsure(path, self._agents)
        agent = next((agent for agent in self._agents if agent.name == name), None)
        if agent is None:
            known = [agent.name for agent in self._agents]
            self._error(path, f"no agent '{name}' has announced itself", _suggestion(name, known))
            return _Reach([])
        if not agent.live:
            self._warning(path, f"agent '{name}' is not live; it was last seen at {agent.seen_at}")
        return _Reach([agent])

    def _pool(self, template: str, path: Path) -> _Reach:
        name = _constant(template)
        if name is None:
            return self._unsure(path, [agent for agent in self._agents if agent.pools])
        members = [agent for agent in self._agents if name in agent.pools]
        if not members:
            known = sorted({pool for agent in self._agents for pool in agent.pools})
            self._error(path, f"no agent serves the pool '{name}'", _suggestion(name, known))
        live = [agent for agent in members if agent.live]
        if members and not live:
            self._warning(path, f"no agent of the pool '{name}' is live: {_names(members)}")
        return _Reach(live or members)

    def _labelled(self, target: Selector, path: Path) -> _Reach:
        """Live agents with the labels that are text; with the others they would be fewer."""
        labels = {key: _constant(value) for key, value in (target.labels or {}).items()}
        wanted = {key: value for key, value in labels.items() if value is not None}
        sure = len(wanted) == len(labels)
        matching = [agent for agent in self._agents if wanted.items() <= agent.labels.items()]
        live = [agent for agent in matching if agent.live]
        shown = ", ".join(f"{key}={value}" for key, value in wanted.items())
        if not matching:
            self._error(path, f"no agent has the labels {shown}", "baton agents list shows the labels")
        elif not live:
            self._warning(path, f"no agent with the labels {shown} is live: {_names(matching)}")
        elif not sure:
            self._unsure(path, live)
        return _Reach(live or matching, sure)

    def _unsure(self, path: Path, agents: Sequence[KnownAgent]) -> _Reach:
        message = "an expression says which agents: neither they nor the arguments are checked"
        self.found.append(("note", path, message, ""))
        return _Reach(agents, sure=False)

    # what

    def _command(
        self, action: str, args: Mapping[str, Any], reach: _Reach, path: Path, *, undo: bool
    ) -> None:
        offered = [(agent, info) for agent in reach.agents if (info := agent.offers(action)) is not None]
        self._offered(action, [agent for agent, _ in offered], reach, (*path, "action"))
        if not reach.sure:
            return
        for schema, agents in _by_schema(offered, undo=undo):
            for misfit in misfits(schema, args, _is_template, _is_secret):
                self._misfit(misfit, action, agents, path)

    def _offered(self, action: str, offering: Sequence[KnownAgent], reach: _Reach, path: Path) -> None:
        missing = [agent for agent in reach.agents if agent not in offering]
        if not missing or (offering and not reach.sure):
            return
        known = sorted({info.name for agent in reach.agents for info in agent.actions})
        some = f", of {len(reach.agents)} agents" if offering else ""
        message = f"action '{action}' is not offered by {_names(missing)}{some}"
        self._error(path, message, _suggestion(action, known))

    def _misfit(self, misfit: Misfit, action: str, agents: Sequence[KnownAgent], path: Path) -> None:
        where = f"'{action}' of {_names(agents)}"
        if misfit.path is None:
            self.found.append(("note", path, f"the arguments are not checked: {where}: {misfit.message}", ""))
        else:
            self._error((*path, "with", *misfit.path), f"{where}: {misfit.message}", misfit.hint)

    def _error(self, path: Path, message: str, hint: str = "") -> None:
        self.found.append(("error", path, message, hint))

    def _warning(self, path: Path, message: str) -> None:
        self.found.append(("warning", path, message, "start it; baton agents list shows who is live"))


def _by_schema(
    offered: Sequence[tuple[KnownAgent, ActionInfo]], *, undo: bool
) -> Iterator[tuple[dict[str, Any], list[KnownAgent]]]:
    """Each schema of the arguments once, with the agents that announced it."""
    groups: list[tuple[dict[str, Any], list[KnownAgent]]] = []
    for agent, info in offered:
        schema = info.undo if undo and info.undo is not None else info.args
        group = next((agents for other, agents in groups if other == schema), None)
        if group is None:
            groups.append((schema, [agent]))
        else:
            group.append(agent)
    yield from groups


def _constant(template: str) -> str | None:
    """The text that a template always gives; None when that takes an expression."""
    text = ""
    for piece in split_template(template):
        if not isinstance(piece, tuple) or piece[2]:
            return None
        text += piece[0]
    return text


def _is_template(text: str) -> bool:
    return _constant(text) is None


def _is_secret(text: str) -> bool:
    """Whether there is a secret in the text that a template gives."""
    pieces = (piece for piece in split_template(text) if isinstance(piece, tuple))
    return any(is_expression and secret_name(source) is not None for source, _, is_expression in pieces)


def _names(agents: Sequence[KnownAgent]) -> str:
    shown = ", ".join(agent.name for agent in agents[:_MAX_NAMES])
    more = len(agents) - _MAX_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"there are: {', '.join(known[:20])}" if known else "baton agents list shows what is there"
