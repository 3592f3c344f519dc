"""The operator: meddles now and then, and decides what only a person can decide.

An honest person: looks at the hosts (the ledger) before saying whether something was done, and waits while it
still goes on or a host is away.
"""

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.core.definition import Definition
from orchestrator.core.inputs import (
    ApproveTask,
    CancelRun,
    Input,
    MoveRun,
    PauseRun,
    ResolveTask,
    ResumeRun,
    RetryFrom,
    RetryNow,
)
from orchestrator.core.model import Run, RunStatus, Task, WaitOn
from orchestrator.loop.intake import Content, InputForRun, RetryRun
from schemas.errors import BatonError

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

__all__ = ["Person"]

PATIENCE = 20.0
"""Seconds that something must have been in question before the person decides."""

SHORT = 4.0
"""Seconds after which an approval may be answered, and a paused run goes on."""

ENOUGH = 3
"""How often a person has something tried again."""

WHO = "person"

Key = tuple[str, str, int]


class Person:
    """Moves of the operator, counted by kind; `versions` are those applied, by workflow and version."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._since: dict[Key, float] = {}
        self._retried: Counter[Key] = Counter()
        self._silent: set[Key] = set()
        self._left: set[str] = set()
        """Runs that have ended and stay as they are."""
        self.versions: dict[str, dict[str, Definition]] = {}
        self.moves: Counter[str] = Counter()

    async def look(self) -> None:
        """Decide about everything that is ripe."""
        await self._try_again()
        for run in self._sim.observer.live():
            before = self.moves.total()
            for step, index, task in self._sim.observer.tasks(run):
                await self._look_at(run, step.id, index, task)
            quiet = before == self.moves.total()
            if run.paused and quiet and self._ripe((run.head.id, "", 0), SHORT, is_so=True):
                again = RetryFrom(self._sim.rng.choice(list(run.steps)), WHO, "from there, please")
                resume = ResumeRun(WHO, "long enough")
                await self._move(run.head.id, resume if self._sim.rng.random() < 0.8 else again)
            elif not run.paused:
                self._ripe((run.head.id, "", 0), SHORT, is_so=False)

    async def _try_again(self) -> None:
        """Have runs that ended badly done again from some step, a few of them; also where it cannot be."""
        asked = self.moves["RetryRun"] + self.moves["RetryRun refused"]
        for run in list(self._sim.observer.runs.values()):
            bad = run.ended in (RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.COMPENSATED)
            if not bad or run.head.id in self._left:
                continue
            self._left.add(run.head.id)
            rng = self._sim.rng
            if asked < ENOUGH and rng.random() < (0.1 if run.ended is RunStatus.COMPENSATED else 0.4):
                asked += 1
                step = rng.choice(list(self._sim.definitions[run.version].steps))
                again = RetryRun(run.head.id, step, WHO, "it should work now", current=rng.random() < 0.5)
                await self._ask(run.head.id, again, again)

    async def move_all(self, definition: Definition) -> None:
        """Let live runs of a workflow keep to this version, most of them."""
        for run in self._sim.observer.live():
            if run.head.workflow == definition.name and self._sim.rng.random() < 0.8:
                await self._move(run.head.id, MoveRun(definition, WHO, "the new one is better"))

    async def _look_at(self, run: Run, step: str, index: int, task: Task) -> None:
        key = (run.head.id, step, index)
        asked = task.wait is not None and task.wait.on is WaitOn.APPROVAL
        if self._ripe(key, SHORT if asked else PATIENCE, is_so=asked or task.needs_person):
            if asked:
                await self._answer(key)
            elif decision := self._decide(run, key, task):
                why = "looked at the host"
                await self._move(run.head.id, ResolveTask(step, decision, WHO, why, index))

    def _ripe(self, key: Key, patience: float, *, is_so: bool) -> bool:
        """Whether something has been so for long enough."""
        now = self._sim.loop.time()
        if not is_so:
            self._since.pop(key, None)
            return False
        return now - self._since.setdefault(key, now) >= patience

    async def _answer(self, key: Key) -> None:
        """Approve, reject, or never answer."""
        choice = self._sim.rng.random()
        if key in self._silent or choice < 0.2:
            self._silent.add(key)
            return
        await self._move(key[0], ApproveTask(key[1], choice < 0.8, WHO, "read it", key[2]))

    def _decide(self, run: Run, key: Key, task: Task) -> str:
        """`retry`, `skip`, `done`, or "" for not yet."""
        sim = self._sim
        if any(one.active for one in sim.ledger.of_run.get(run.head.id, ()) if one.task == key):
            return ""
        if task.command_id and not all(sim.is_well(node) for node in sim.agents):
            return ""
        there = sim.ledger.is_there(key)
        if there is not task.undoing and sim.observer.step(run, key[1]).kind == "action":
            return "done"
        self._retried[key] += 1
        if run.going_back and not task.undoing:
            return "skip"
        return "retry" if self._retried[key] <= ENOUGH and sim.rng.random() < 0.8 else "skip"

    async def meddle(self) -> None:
        """Do something to some run that nobody asked for."""
        rng = self._sim.rng
        runs = list(self._sim.observer.runs.values())
        live = self._sim.observer.live()
        if runs and (not live or rng.random() < 0.2):
            live = runs  # it may have ended: too late to do anything about it
        if not live:
            return
        run = rng.choice(live)
        step = rng.choice(list(run.steps) or ["s0"])
        version = rng.choice(list(self.versions[run.head.workflow].values()))
        given: Input = rng.choice(
            (
                CancelRun(WHO, "changed their mind"),
                CancelRun(WHO, "changed their mind"),
                PauseRun(WHO, "wants to look"),
                RetryNow(WHO, "has no time"),
                RetryFrom(step, WHO, "wants it again"),
                MoveRun(version, WHO, "likes that version"),
            )
        )
        await self._move(run.head.id, given)

    async def _move(self, run_id: str, given: Input) -> None:
        await self._ask(run_id, given, InputForRun(run_id, given))

    async def _ask(self, run_id: str, move: Input | RetryRun, content: Content) -> None:
        kind = type(move).__name__
        told = f"MoveRun to {move.to.version[:12]}" if isinstance(move, MoveRun) else str(move)
        self._sim.note(WHO, f"{run_id}: {told}")
        try:
            await self._sim.coordinator.submit(content)
            self.moves[kind] += 1
        except BatonError as error:
            self.moves[f"{kind} refused"] += 1
            self._sim.note(WHO, f"{run_id}: refused: {error.code}")
