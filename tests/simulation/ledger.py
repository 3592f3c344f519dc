"""What really happened on the hosts: which actions started, what effects they left, how they ended.

The actions are scripted from the seed and from the command's id alone, and write here what they do. The
invariants trust this ledger, not the coordinator.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from urllib.parse import quote

from agents import ActionError, Agent, Context, Probed
from agents.sdk import Action
from schemas.messages import CommandKind
from tests.simulation.clockwork import Life

__all__ = ["Effect", "Ledger", "Performance", "Script"]

log = logging.getLogger("agents.actions")

TaskKey = tuple[str, str, int]
"""Run id, step, host index."""


@dataclass(frozen=True)
class Script:
    """How one attempt goes. Times in seconds.

    `effect`: whether it leaves one; `stubborn`: it goes on for so long after it was told to stop; `finish`:
    it does its work although it was told to stop; `tells`: where it lets out a secret that it was given.
    """

    before: float
    after: float
    effect: bool
    fails: str = ""
    retryable: bool = True
    stubborn: float = 0.0
    finish: bool = False
    tells: str = ""


@dataclass(eq=False)
class Performance:
    """One execution of an action. `ended` is "" while it goes on, then how it ended."""

    number: int
    life: Life
    agent: str
    instance_id: str
    command_id: str
    task: TaskKey
    attempt: int
    undo: bool
    args: dict[str, Any]
    script: Script
    at: float
    effect_at: float | None = None
    ended: str = ""
    ended_at: float | None = None

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return not self.ended


@dataclass
class Effect:
    """Whether what a step does is there, on one host; `by` is who last made or undid it."""

    present: bool
    by: Performance


@dataclass
class Ledger:
    """All performances in order, and what is there because of them."""

    seed: int
    time: Callable[[], float]
    trouble: float = 0.3
    """How likely an attempt does not simply succeed."""
    performances: list[Performance] = field(default_factory=list)
    of_command: dict[str, list[Performance]] = field(default_factory=dict)
    of_run: dict[str, list[Performance]] = field(default_factory=dict)
    effects: dict[TaskKey, dict[str, Effect]] = field(default_factory=dict)
    probes: Counter[str] = field(default_factory=Counter)
    """What probes said, and how often."""
    on_probe: Callable[[Life, str, Probed], None] = lambda life, command_id, said: None
    let_out: int = 0
    """How many attempts had a secret and were of the kind that lets it out."""
    on_start: Callable[[Performance], None] = lambda performance: None
    on_effect: Callable[[Performance], None] = lambda performance: None
    on_end: Callable[[Performance], None] = lambda performance: None

    def actions(
        self, life: Life, instance_of: Callable[[], str], undoes_failures: Callable[[Context], bool]
    ) -> dict[str, Action]:
        """The actions of one agent's life."""
        agent = Agent()
        life.at_death.append(lambda: self._crashed(life))

        async def act(ctx: Context, **args: Any) -> Any:
            script = self.script(ctx, after_failure=undoes_failures(ctx))
            if script.tells and "token" in args:
                self.let_out += 1
            _let_out(script.tells, ctx, args.get("token", ""))
            begun = self._begin(life, instance_of(), ctx, args, script)
            try:
                return await self._perform(begun) | _said(script, args)
            except ActionError as error:
                raise _with_secret(error, script, args) from error

        async def probe(ctx: Context, **_: Any) -> Probed:
            return self._probe(life, ctx)

        for name in ("do.it", "undo.it"):
            agent.action(name)(act)
        for name in ("ask.it", "unask.it"):
            agent.action(name, probe=probe)(act)
        return agent.actions

    def is_there(self, task: TaskKey) -> bool:
        """Whether the effect of a task is there, on any host."""
        return any(effect.present for effect in self.effects.get(task, {}).values())

    def active(self, command_id: str) -> bool:
        """Whether some execution of a command goes on."""
        return any(one.active for one in self.of_command.get(command_id, ()))

    def script(self, ctx: Context, *, after_failure: bool) -> Script:
        """How this attempt is to go: a function of the seed and the command's id."""
        tells = Random(f"{self.seed}/{ctx.command_id}/tells").choice(("", "", *_TELLS))
        return replace(self._script(ctx, after_failure=after_failure), tells=tells)

    def _script(self, ctx: Context, *, after_failure: bool) -> Script:
        rng = Random(f"{self.seed}/{ctx.command_id}")
        before, after = rng.uniform(0, 0.02), rng.uniform(0, 0.02)
        if rng.random() < 0.3:  # slow enough to be announced
            before, after = rng.uniform(0, 2), rng.uniform(0, 2)
        if rng.random() >= self.trouble:
            return Script(before, after, effect=True)
        kind = rng.choice(("fails", "fails", "refuses", "hangs", "stubborn", "finishes"))
        match kind:
            case "fails" | "refuses":
                leaves = after_failure and rng.random() < 0.5
                return Script(before, after, leaves, fails=f"it {kind}", retryable=kind == "fails")
            case "hangs":
                return Script(before, 1e5, effect=rng.random() < 0.5)
            case "stubborn":
                return Script(before, 1e5, rng.random() < 0.5, stubborn=rng.uniform(0, 5))
        return Script(before, 1e5, effect=True, stubborn=0.1, finish=True)

    async def _perform(self, performance: Performance) -> dict[str, Any]:
        script = performance.script
        try:
            await asyncio.sleep(script.before)
            if script.effect:
                self._take_effect(performance)
            await asyncio.sleep(script.after)
        except asyncio.CancelledError:
            if script.stubborn:
                await self._go_on(performance)
            if not script.finish:
                self._end(performance, "killed")
                raise
        if script.fails:
            self._end(performance, "failed")
            raise ActionError("scripted", script.fails, retryable=script.retryable)
        self._end(performance, "succeeded")
        return _output(performance)

    def _probe(self, life: Life, ctx: Context) -> Probed:
        """Look whether a lost attempt took effect; now and then it cannot be told."""
        said = Probed.unknown("too dark")
        if Random(f"{self.seed}/{ctx.command_id}/{self.probes.total()}").random() < 0.8:
            here = [one for one in self.of_command.get(ctx.command_id, ()) if one.agent == ctx.agent]
            took = [one for one in here if one.effect_at is not None]
            said = Probed.done(_output(took[-1])) if took else Probed.never()
        self.probes[said.said] += 1
        self.on_probe(life, ctx.command_id, said)
        return said

    async def _go_on(self, performance: Performance) -> None:
        """What a stubborn action does after it was told to stop."""
        script = performance.script
        await asyncio.sleep(script.stubborn)
        if script.effect:
            self._take_effect(performance)

    def _begin(
        self, life: Life, instance_id: str, ctx: Context, args: dict[str, Any], script: Script
    ) -> Performance:
        performance = Performance(
            number=len(self.performances),
            life=life,
            agent=ctx.agent,
            instance_id=instance_id,
            command_id=ctx.command_id,
            task=(ctx.run_id, ctx.step, ctx.host_index),
            attempt=ctx.attempt,
            undo=ctx.kind is CommandKind.COMPENSATE,
            args=args,
            script=script,
            at=self.time(),
        )
        self.performances.append(performance)
        self.of_command.setdefault(ctx.command_id, []).append(performance)
        self.of_run.setdefault(ctx.run_id, []).append(performance)
        self.on_start(performance)
        return performance

    def _take_effect(self, performance: Performance) -> None:
        if performance.effect_at is None:
            performance.effect_at = self.time()
            there = self.effects.setdefault(performance.task, {})
            if performance.undo and performance.agent not in there:  # the document names another to undo it
                there.update({agent: Effect(present=False, by=performance) for agent in there})
            there[performance.agent] = Effect(not performance.undo, performance)
            self.on_effect(performance)

    def _end(self, performance: Performance, how: str) -> None:
        performance.ended = how
        performance.ended_at = self.time()
        self.on_end(performance)

    def _crashed(self, life: Life) -> None:
        for performance in self.performances:
            if performance.life is life and performance.active:
                self._end(performance, "crashed")


def _output(performance: Performance) -> dict[str, Any]:
    """What an action gives when it has succeeded."""
    return {"by": performance.agent, "n": performance.number}


# How actions let out what they were given; the agent must hide all of it.

_TELLS = ("log", "progress", "own log", "output", "error")


def _let_out(where: str, ctx: Context, token: str) -> None:
    if token and where == "log":
        ctx.log(f"uses {token}, {quote(token)}, {token!r}")
    elif token and where == "progress":
        ctx.progress({"with": [token]})
    elif token and where == "own log":
        log.info("uses %s", token)


def _said(script: Script, args: dict[str, Any]) -> dict[str, Any]:
    """What goes into the output of an action that tells it there."""
    token = args.get("token", "") if script.tells == "output" else ""
    return {"with": {token: [token, json.dumps(token)]}} if token else {}


def _with_secret(error: ActionError, script: Script, args: dict[str, Any]) -> Exception:
    """The error of an action that tells it there: one of its own, or a crash with a stack that shows it."""
    token = args.get("token", "") if script.tells == "error" else ""
    if not token:
        return error
    if script.retryable:
        return RuntimeError(f"{error.message} with {token}")
    return ActionError(token, f"{error.message} with {token}", retryable=False, details={"with": token})
