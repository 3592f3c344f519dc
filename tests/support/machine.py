"""Drives the pure machine in tests: a run, its commands, and what agents say of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from orchestrator.core import machine
from orchestrator.core.compiler import compile_definition
from orchestrator.core.facts import Fact
from orchestrator.core.inputs import (
    NO_LIMITS,
    Emission,
    Env,
    Input,
    Limits,
    Move,
    ResultReceived,
    Signal,
    StartChild,
    Wake,
)
from orchestrator.core.model import (
    ParentRef,
    Run,
    RunHead,
    RunStatus,
    StepStatus,
    Task,
    TraceContext,
    step_status,
)
from orchestrator.core.registry import Host, Registry
from schemas.messages import Command, CommandKind, ErrorInfo, ResultStatus
from schemas.times import to_datetime
from schemas.workflow import Workflow
from tests.support.results import result_of

__all__ = ["Saga", "chain", "step"]

START = 1_700_000_000_000_000
SECOND = 1_000_000


def step(name: str, **fields: Any) -> dict[str, Any]:
    """A step that has an undo; fields override."""
    base: dict[str, Any] = {
        "id": name,
        "action": f"do.{name}",
        "target": "host-1",
        "compensate": {"action": f"undo.{name}"},
    }
    return {key: value for key, value in {**base, **fields}.items() if value is not None}


def chain(*names: str) -> list[dict[str, Any]]:
    """Steps one after another."""
    return [step(name) for name in names]


class Saga:
    """One run of a workflow of these steps, begun at once."""

    def __init__(
        self,
        *steps: dict[str, Any],
        given: Any = None,
        hosts: Sequence[Host] = (),
        parent: ParentRef | None = None,
        queued: bool = False,
        kept: Mapping[str, tuple[Task, ...]] | None = None,
        limits: Limits = NO_LIMITS,
        **document: Any,
    ) -> None:
        self.limits = limits
        data = {"workflow": "test", "steps": list(steps), **document}
        self.definition = compile_definition(msgspec.convert(data, Workflow))
        self.now = START
        self.facts: list[Fact] = []
        self.commands: list[Command] = []
        self.signals: list[Signal] = []
        self.children: list[StartChild] = []
        self.emissions: list[Emission] = []
        self.registry = Registry(live_for=10**15)
        for host in hosts:
            self.registry.put(structs.replace(host, seen_at=self.now))
        head = RunHead(
            id="run",
            workflow="test",
            version=self.definition.version,
            key="",
            created_at=self.now,
            trace=TraceContext(trace_id="ab" * 16, span_id="cd" * 8),
            input={} if given is None else given,
            parent=parent,
        )
        self._take(machine.start(self.definition, head, self._env(), queued=queued, kept=kept))

    def _env(self) -> Env:
        return Env(now=self.now, jitter=0.5, epoch=1, registry=self.registry, limits=self.limits)

    def _take(self, move: Move) -> Move:
        self.run: Run = move.run
        self.facts.extend(move.facts)
        self.commands.extend(dispatch.command for dispatch in move.commands)
        self.signals.extend(move.signals)
        self.children.extend(move.children)
        self.emissions.extend(move.emissions)
        return move

    def give(self, given: Input) -> Move:
        """Let something happen to the run."""
        return self._take(machine.apply(self.definition, self.run, given, self._env()))

    def wait(self, seconds: float) -> Move:
        """Time goes on, and what is due is looked at."""
        self.now += int(seconds * SECOND)
        return self.give(Wake())

    def go_on(self) -> list[Move]:
        """Wake the run as long as it says that there is more to be done at once."""
        moves = []
        while self.run.yielded_at is not None:
            moves.append(self.wait(0))
            assert len(moves) < 100, "it is woken for nothing"
        return moves

    def say(
        self,
        command: Command,
        status: ResultStatus | str,
        *,
        agent: str = "",
        started: bool = True,
        code: str = "broken",
        retryable: bool = True,
        output: Any = None,
        **changes: Any,
    ) -> Move:
        """An agent says something of a command."""
        status = ResultStatus(status)
        failed = status in (ResultStatus.FAILED, ResultStatus.REJECTED, ResultStatus.TIMED_OUT)
        result = result_of(
            command,
            status,
            agent or self.holder(command),
            output=output,
            error=ErrorInfo(code=code, message="it broke", retryable=retryable) if failed else None,
            started_at=to_datetime(self.now) if started else None,
        )
        return self.give(ResultReceived(msgspec.structs.replace(result, **changes)))

    def holder(self, command: Command) -> str:
        """The agent that the command was sent to."""
        task = self.run.steps[command.step][command.host_index] if command.step in self.run.steps else Task()
        return task.target.removeprefix("agent.") if task.target.startswith("agent.") else "host-1"

    def last(
        self, step_id: str, kind: CommandKind = CommandKind.EXECUTE, index: int | None = None
    ) -> Command:
        """The newest command of this kind for a step, or for one task of it."""
        return next(
            c
            for c in reversed(self.commands)
            if c.step == step_id and c.kind is kind and index in (None, c.host_index)
        )

    def succeed(self, *step_ids: str) -> None:
        """The agents do these steps."""
        for step_id in step_ids:
            self.say(self.last(step_id), ResultStatus.SUCCEEDED)

    def undo(self, *step_ids: str) -> None:
        """The agents do the undo of these steps."""
        for step_id in step_ids:
            self.say(self.last(step_id, CommandKind.COMPENSATE), ResultStatus.SUCCEEDED)

    def sent(self, kind: CommandKind = CommandKind.EXECUTE) -> list[str]:
        """The steps that got a command of this kind, in the order of sending."""
        return [command.step for command in self.commands if command.kind is kind]

    @property
    def undone(self) -> list[str]:
        """The steps whose undo was sent, in order."""
        return self.sent(CommandKind.COMPENSATE)

    @property
    def status(self) -> RunStatus:
        """The run's status."""
        return self.run.status

    def task(self, step_id: str) -> Task:
        """The one task of a plain step."""
        return self.run.steps[step_id][0]

    def step_status(self, step_id: str) -> StepStatus:
        """A step's status."""
        return step_status(self.run.steps[step_id])
