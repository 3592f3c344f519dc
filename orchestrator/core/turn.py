"""One move in the making."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from orchestrator.core.definition import Definition, StepDef
from orchestrator.core.evolution import Drafts, evolve, finished
from orchestrator.core.facts import AttemptFailed, Fact
from orchestrator.core.inputs import Dispatch, Emission, Env, Move, Signal, SignalInput, StartChild
from orchestrator.core.model import Run, StepStatus, Task

__all__ = ["Turn"]


class Turn:
    """One move being made: facts recorded so far, the state they lead to, and what is to be sent and started.

    `touched` are the steps that this move may have changed: only they, and what needs them, can go on.
    `failed` are the tasks that it made fail for good, and of which nothing has come yet.
    """

    def __init__(self, definition: Definition, run: Run, env: Env) -> None:
        self.definition = definition
        self.env = env
        self.run = run
        self.facts: list[Fact] = []
        self.commands: list[Dispatch] = []
        self.children: list[StartChild] = []
        self.emissions: list[Emission] = []
        self.signals: list[Signal] = []
        self.touched: set[str] = set() if run.yielded_at is None else set(run.steps)
        self.failed: list[tuple[StepDef, int]] = []
        self.due: list[tuple[StepDef, int]] = []
        """Tasks whose next attempt is to be made in this very move."""
        self.picked: Counter[str] = Counter()
        """How many commands this move has given to each agent."""
        self.views: dict[str, Any] = {}
        """What expressions see of steps, as long as nothing about these is recorded; see `scope`."""
        self.cut = False
        """Whether something was left to the next move, since this was last set to false."""
        self._room = env.limits.at_once
        self._drafts: Drafts = {}

    def record(self, fact: Fact) -> None:
        """Let a fact be true."""
        self.facts.append(fact)
        self.run = evolve(self.run, fact, self._drafts)
        step = getattr(fact, "step", None)
        if step is None:
            self.views.clear()
            self.touched.update(self.run.steps)
        elif step in self.run.steps:  # a stranger's result may name any
            self.views.pop(step, None)
            self.touched.add(step)
        if isinstance(fact, AttemptFailed) and fact.retry_at is None and fact.outcome is StepStatus.FAILED:
            self.failed.append((self.definition.steps[fact.step], fact.host_index))

    def take(self) -> bool:
        """Whether this move may begin, undo or stop one task more; ask only if that records a fact."""
        if self._room == 0:
            self.cut = True
            return False
        self._room -= 1
        return True

    def signal(self, to: str, given: SignalInput) -> None:
        """Let another run know."""
        self.signals.append(Signal(to, given))

    def move(self) -> Move:
        """What came of it."""
        run = finished(self.run, self._drafts)
        return Move(run, self.facts, self.commands, self.children, self.emissions, self.signals)

    def task(self, step: StepDef, index: int) -> Task:
        """A task as it is now."""
        return self.run.steps[step.id][index]

    def tasks(self) -> Iterator[tuple[StepDef, int, Task]]:
        """Every task with its step, in document order."""
        steps = self.definition.steps
        for name, tasks in self.run.steps.items():
            step = steps[name]
            for index, task in enumerate(tasks):
                yield step, index, task
