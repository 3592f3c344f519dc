"""Keeps the registry of agents: from what they announce, and from the commands they have outstanding."""

from collections.abc import Iterable

from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSent,
    AttemptStarted,
    AttemptSucceeded,
    StepsReset,
    TaskCancelled,
    TaskResolved,
)
from orchestrator.core.model import Run, Task
from orchestrator.core.registry import Host, Registry
from orchestrator.store.port import AgentRecord, Batch, TaskKey
from schemas.names import Topology
from schemas.times import Micros

__all__ = ["Roster"]

_OF_COMMANDS = (
    AttemptSent,
    AttemptSucceeded,
    AttemptFailed,
    AttemptStarted,
    TaskCancelled,
    TaskResolved,
)
"""The facts with which a task gets a command to wait for, or has none any more."""
_AGENT = Topology.agent_key("")


class Roster:
    """The one registry. Only what is committed changes it; a batch decides on a copy of who is busy."""

    def __init__(self, live_for: Micros) -> None:
        self.registry = Registry(live_for=live_for)
        self._outstanding: dict[TaskKey, str] = {}

    def load(self, agents: Iterable[AgentRecord], runs: Iterable[Run]) -> None:
        """Take up what the database holds: announcements, and the runs in motion."""
        for record in agents:
            self.registry.put(_host(record))
        for run in runs:
            for step, tasks in run.steps.items():
                for index, task in enumerate(tasks):
                    self._set((run.head.id, step, index), _agent_of(task))

    def copy(self) -> Registry:
        """For a batch, which counts what it sends on top."""
        registry = self.registry
        return Registry(registry.live_for, registry.hosts, registry.busy.copy())

    def committed(self, batch: Batch) -> None:
        """Take in what a batch has changed."""
        for record in batch.presence.values():
            self.registry.put(_host(record))
        for run_id, _, fact in batch.facts:
            if isinstance(fact, _OF_COMMANDS):
                self._look(batch.changed[run_id], fact.step, fact.host_index)
            elif isinstance(fact, StepsReset):
                run = batch.changed[run_id]
                for step in fact.steps:
                    for index in range(len(run.steps[step])):
                        self._look(run, step, index)

    def _look(self, run: Run, step: str, index: int) -> None:
        """What a task has outstanding now; nothing for one that is not there any more."""
        tasks = run.steps.get(step, ())
        agent = _agent_of(tasks[index]) if index < len(tasks) and run.ended is None else ""
        self._set((run.head.id, step, index), agent)

    def _set(self, key: TaskKey, agent: str) -> None:
        busy = self.registry.busy
        before = self._outstanding.get(key, "")
        if before == agent:
            return
        if before:
            del self._outstanding[key]
            busy[before] -= 1
            if not busy[before]:
                del busy[before]
        if agent:
            self._outstanding[key] = agent
            busy[agent] += 1


def _agent_of(task: Task) -> str:
    """The agent that has a command of this task to do; empty if none has, or nobody knows which of a pool."""
    if not task.command_id:
        return ""
    return task.target.removeprefix(_AGENT) if task.target.startswith(_AGENT) else task.agent


def _host(record: AgentRecord) -> Host:
    presence = record.presence
    return Host(
        presence.name,
        presence.instance_id,
        presence.labels,
        tuple(presence.pools),
        presence.stopping,
        record.seen_at,
    )
