"""Figures for `/metrics`, in a registry of their own."""

from collections import Counter
from collections.abc import Callable

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from orchestrator.core.facts import RunEnded, RunStarted
from orchestrator.store.port import Batch

__all__ = ["Metrics"]

_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """Counters and gauges of one coordinator. Names follow Prometheus: unit suffix, `_total` for counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.runs = prometheus.Counter(
            "baton_runs", "Runs started and ended", ("workflow", "status"), registry=self.registry
        )
        self.steps = prometheus.Counter(
            "baton_step_facts", "Facts about steps, by kind", ("fact",), registry=self.registry
        )
        self.events = prometheus.Counter(
            "baton_events", "Events taken in, by outcome", ("outcome",), registry=self.registry
        )
        self.dead = prometheus.Counter(
            "baton_dead_letters",
            "Messages sent to the dead-letter exchange",
            ("queue",),
            registry=self.registry,
        )
        self.batch = Histogram(
            "baton_batch_size", "Items decided in one transaction", buckets=_BATCHES, registry=self.registry
        )
        self.commit = Histogram(
            "baton_commit_seconds", "Time of one commit", buckets=_SECONDS, registry=self.registry
        )
        self.queue_age = Histogram(
            "baton_queue_age_seconds",
            "Time from a message's arrival to its commit",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stranded = Gauge(
            "baton_runs_stranded", "Live runs that nothing would move: must be 0", registry=self.registry
        )
        self._outbox = Gauge(
            "baton_outbox_depth", "Committed messages not yet confirmed", registry=self.registry
        )
        self._active = Gauge("baton_runs_active", "Runs in motion", registry=self.registry)
        self._queued = Gauge(
            "baton_runs_queued", "Runs that wait for room in their concurrency group", registry=self.registry
        )
        self._connected = Gauge(
            "baton_bus_connected", "1 while connected to the broker", registry=self.registry
        )

    def watch(
        self,
        outbox: Callable[[], int],
        active: Callable[[], int],
        queued: Callable[[], int],
        connected: Callable[[], bool],
    ) -> None:
        """Where the gauges read their figures."""
        self._outbox.set_function(outbox)
        self._active.set_function(active)
        self._queued.set_function(queued)
        self._connected.set_function(connected)

    def committed(self, batch: Batch) -> None:
        """Count what a committed batch holds."""
        runs = Counter((run.head.workflow, "started") for run in batch.started)
        runs.update(
            (batch.changed[run_id].head.workflow, str(fact.status))
            for run_id, _, fact in batch.facts
            if isinstance(fact, RunEnded)
        )
        for labels, number in runs.items():
            self.runs.labels(*labels).inc(number)
        for kind, number in Counter(type(fact) for _, _, fact in batch.facts).items():
            if kind not in (RunStarted, RunEnded):
                self.steps.labels(kind.__struct_config__.tag).inc(number)
        for outcome, number in Counter(one.outcome for one in batch.inbox if one.kind == "event").items():
            self.events.labels(outcome).inc(number)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
