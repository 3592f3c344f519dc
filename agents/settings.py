"""What an agent is told at its start."""

from dataclasses import dataclass, field
from pathlib import Path

from agents.limits import Limits
from agents.secrets import Secrets
from runtime.bus.port import Binding, Declarations, Exchange, Queue
from schemas.names import Topology

__all__ = ["Settings", "declarations"]


@dataclass(frozen=True)
class Settings:
    """One agent. `concurrency`: how many actions run at once; further ones wait in the agent."""

    name: str
    state_dir: Path
    topology: Topology = field(default_factory=Topology)
    labels: dict[str, str] = field(default_factory=dict)
    pools: tuple[str, ...] = ()
    concurrency: int = 16
    queue_type: str = "quorum"
    version: str = "0"
    limits: Limits = field(default_factory=Limits)
    secrets: Secrets = field(default_factory=Secrets)


def declarations(settings: Settings) -> Declarations:
    """What the agent declares: its queues, the pools', the dead letters', and the exchanges between them.

    The agent's own queue serves one consumer at a time: of two agents started under one name, one waits.
    """
    topology = settings.topology
    work = topology.work_arguments(settings.queue_type)
    own = topology.agent_queue(settings.name)
    pools = [(topology.pool_queue(pool), topology.pool_key(pool)) for pool in settings.pools]
    return Declarations(
        exchanges=(
            Exchange(topology.commands, "direct"),
            Exchange(topology.results, "topic"),
            Exchange(topology.dead, "fanout"),
        ),
        queues=(
            Queue(topology.dead, topology.dead_arguments()),
            Queue(own, topology.work_arguments(settings.queue_type, single=True)),
            *(Queue(queue, work) for queue, _ in pools),
        ),
        bindings=(
            Binding(topology.dead, topology.dead, ""),
            Binding(own, topology.commands, topology.agent_key(settings.name)),
            *(Binding(queue, topology.commands, key) for queue, key in pools),
        ),
    )
