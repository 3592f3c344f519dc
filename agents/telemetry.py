"""One span for each attempt, in the trace of its run.

Importing this module imports OpenTelemetry; nothing does that while no endpoint is set (`runtime.otlp`). No
payload goes in: no argument, output, log or error message; of an error only its code.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agents.answers import Outcome
from agents.jobs import Finish, Job
from agents.settings import Settings
from agents.threads import in_thread
from schemas.messages import ResultStatus

__all__ = ["Spans"]

log = logging.getLogger(__name__)

SHUTDOWN_WITHIN: Final = 5.0
"""Seconds that the last spans may take to leave."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Spans:
    """`agents.jobs.Telemetry` through OpenTelemetry. Spans leave in batches, from a thread of the SDK's."""

    def __init__(self, provider: TracerProvider, settings: Settings) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("baton.agents", settings.version)
        topology = settings.topology
        queue = topology.agent_queue(settings.name)
        template = topology.agent_queue("{name}")
        self._name = f"process {template}"
        self._common: dict[str, str | int] = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": f"{topology.commands}:{topology.agent_key(settings.name)}:{queue}",
            "messaging.destination.template": template,
            "messaging.rabbitmq.destination.routing_key": topology.agent_key(settings.name),
            "baton.agent": settings.name,
        }

    @contextmanager
    def attempt(self, job: Job) -> Iterator[Finish]:
        """The attempt's CONSUMER span, child of the command's `traceparent`, current for the action."""
        command, context = job.command, job.context
        carrier = {"traceparent": context.traceparent}
        with self._tracer.start_as_current_span(
            self._name,
            context=_PROPAGATOR.extract(carrier),
            kind=trace.SpanKind.CONSUMER,
            attributes={
                **self._common,
                "messaging.message.conversation_id": command.run_id,
                "baton.run.id": command.run_id,
                "baton.workflow": command.workflow,
                "baton.step": command.step,
                "baton.host_index": command.host_index,
                "baton.attempt": command.attempt,
                "baton.kind": str(command.kind),
                "baton.action": command.action,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            _PROPAGATOR.inject(carrier)
            context.traceparent = carrier["traceparent"]

            def finish(outcome: Outcome) -> None:
                span.set_attribute("baton.outcome", str(outcome.status))
                if outcome.status is not ResultStatus.SUCCEEDED:
                    span.set_status(trace.StatusCode.ERROR)
                if outcome.error is not None:
                    span.set_attribute("error.type", outcome.error.code)

            yield finish

    async def shut_down(self) -> None:
        """Send what is left, for a bounded time."""
        try:
            async with asyncio.timeout(SHUTDOWN_WITHIN):
                await in_thread(self._provider.shutdown)
        except TimeoutError:
            log.warning("telemetry: the backend is slow; the last spans are lost")
