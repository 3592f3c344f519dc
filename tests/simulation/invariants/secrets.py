"""No canary secret in databases, logs, traces, metrics or queues."""

from typing import TYPE_CHECKING

from runtime.bus.port import Message
from tests.simulation.canary import shows
from tests.simulation.invariants.tables import at_end, at_route

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


@at_route
def no_message_shows_a_secret(sim: "Simulation", message: Message) -> str | None:
    """Whoever publishes it, the broker's own dead letters included: neither body nor headers."""
    if shows(message.body) or shows(f"{message.routing_key} {message.headers}"):
        return f"a secret is in {message.exchange} {message.routing_key}: {message.body[:1000]!r}"
    return None


@at_end
def no_file_shows_a_secret(sim: "Simulation") -> str | None:
    """Neither databases nor journals, their logs included; also not of hosts that were made anew since."""
    for path in sorted(sim.directory.rglob("*")):
        if path.is_file() and shows(path.read_bytes()):
            return f"a secret is in {sim.placeless(str(path))}"
    return None


@at_end
def no_log_shows_a_secret(sim: "Simulation") -> str | None:
    """Nothing that a process logged, nor else in the trace of the simulation."""
    return next((f"a secret is in: {text}" for _, _, text in sim.trace if shows(text)), None)


@at_end
def no_span_shows_a_secret(sim: "Simulation") -> str | None:
    """Nothing that was exported of runs or attempts."""
    words = sim.backend.words() if sim.backend is not None else ()
    return next((f"a secret is in a span: {text}" for text in words if shows(text)), None)


@at_end
def no_metric_shows_a_secret(sim: "Simulation") -> str | None:
    """Nothing that any life of the coordinator counted."""
    for metrics in sim.coordinator.metrics:
        text = metrics.render().decode()
        if shows(text):
            return f"a secret is in the metrics: {next(line for line in text.splitlines() if shows(line))}"
    return None
