"""What the coordinator declares on the broker (`docs/messages.md` lists it)."""

from runtime.bus.port import Binding, Declarations, Exchange, Queue
from schemas.names import Topology

__all__ = ["coordinator_declarations"]


def coordinator_declarations(topology: Topology, shard: str) -> Declarations:
    """All exchanges, and the queues from which one shard's coordinator takes its work."""
    results, expired = topology.results_queue(shard), topology.expired_queue(shard)
    return Declarations(
        exchanges=(
            Exchange(topology.events, "topic"),
            Exchange(topology.commands, "direct"),
            Exchange(topology.results, "topic"),
            Exchange(topology.lifecycle, "topic"),
            Exchange(topology.dead, "fanout"),
        ),
        queues=(
            Queue(topology.dead, topology.dead_arguments()),
            Queue(topology.events_inbox, topology.work_arguments()),
            Queue(results, topology.work_arguments(single=True)),
            Queue(topology.presence, topology.work_arguments()),
            Queue(expired, topology.expired_arguments()),
        ),
        bindings=(
            Binding(topology.dead, topology.dead, ""),
            Binding(topology.events_inbox, topology.events, "#"),
            Binding(results, topology.results, topology.result_key(shard, "#")),
            Binding(topology.presence, topology.results, topology.presence_key("#")),
            Binding(expired, topology.dead, ""),
        ),
    )
