"""Spans as a projection of the history: pure, so the same facts give the same spans, whoever folds them when.

A run is one trace: `run {workflow}` (SERVER) > `step {step}` and `undo {step}` (PRODUCER; INTERNAL where no
message was sent) > what the agent does, or a child run. The ids of all of them are fixed when the run starts
(`TraceContext`). A span is made when the fact that ends it is folded; until then there is none: a task that
waits for a person has no span yet, nor has its run. A task that a person has done again has a span for each.

Attributes follow OpenTelemetry's conventions for CI/CD pipelines and for messaging on RabbitMQ. No payload:
no key, input, output, argument or error message goes in; of an error only its code.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal

from msgspec.structs import replace

from orchestrator.core.evolution import evolve
from orchestrator.core.facts import (
    AttemptFailed,
    AttemptSucceeded,
    Fact,
    ResultIgnored,
    RunEnded,
    TaskDone,
    TaskResolved,
)
from orchestrator.core.model import Run, RunHead, RunStatus, StepStatus, Task
from orchestrator.telemetry.stories import (
    Attribute,
    SpanEvent,
    Story,
    tell,
    tell_run,
    without_payload,
)
from schemas.names import Topology
from schemas.times import Micros

__all__ = ["Origin", "Projection", "SpanRecord", "tells_of_spans"]

_RUN_RESULT: Final = {
    RunStatus.SUCCEEDED: "success",
    RunStatus.FAILED: "failure",
    RunStatus.COMPENSATED: "failure",
    RunStatus.CANCELLED: "cancellation",
}
_FAILURE: Final = {"timed_out": "timeout"} | dict.fromkeys(
    ("returned", "expired", "unknown", "never_seen"), "error"
)
"""Statuses of an attempt that is no failure of the action itself."""
_WAITED: Final = frozenset({"wait_timed_out", "approval_timed_out"})
"""Codes of waits that ended for nothing."""
_OVER: Final = frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})
_BAD: Final = frozenset({"failure", "error", "timeout"})


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A finished span. Ids are lower-case hex; `parent_id` is empty for the first span of a trace.

    `remote_parent`: the parent is somebody else's. `failed`: its status is an error.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Literal["server", "producer", "internal"]
    start: Micros
    end: Micros
    attributes: Mapping[str, Attribute]
    events: tuple[SpanEvent, ...] = ()
    remote_parent: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What the spans of one coordinator have in common. `url`: where the API is; `broker`: its host."""

    topology: Topology = field(default_factory=Topology)
    url: str = ""
    broker: str = ""
    broker_port: int = 0


def tells_of_spans(fact: Fact) -> bool:
    """Whether a fact can matter to any span; ignored results come even after a run has ended."""
    return not isinstance(fact, ResultIgnored)


class _Trace:
    """One live run: its folded state without payloads, and the stories of what goes on in it."""

    def __init__(self, head: RunHead) -> None:
        self.run = Run(head=replace(head, input=None, event=None), steps={})
        self.story = Story()
        self._tasks: dict[tuple[str, int, bool], Story] = {}
        self._told: Counter[tuple[str, int, bool]] = Counter()

    def task(self, step: str, host_index: int, *, undo: bool) -> Story:
        return self._tasks.setdefault((step, host_index, undo), Story())

    def finish(self, step: str, host_index: int, *, undo: bool) -> tuple[Story, str]:
        """The story of what has ended, and its span's id: commands name the first, others derive from it."""
        place = (step, host_index, undo)
        first = self.run.head.trace.span_of(step, host_index, undo=undo)
        number = self._told[place]
        self._told[place] += 1
        span_id = blake2b(f"{first}/{number}".encode(), digest_size=8).hexdigest() if number else first
        return self._tasks.pop(place, Story()), span_id


class Projection:
    """Folds the facts of many runs, in their order, into finished spans.

    A run must be known (`learn`) before its facts are fed; it is forgotten at its end, or by `trim`.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._traces: dict[str, _Trace] = {}

    def knows(self, run_id: str) -> bool:
        """Whether facts of this run can be fed."""
        return run_id in self._traces

    def learn(self, head: RunHead, past: Iterable[Fact] = ()) -> None:
        """Take up a run with the facts before the next one to be fed; spans that ended there are left out."""
        trace = _Trace(head)
        for fact in past:
            self._fold(trace, fact)
        self._traces[head.id] = trace

    def trim(self, capacity: int) -> None:
        """Know at most `capacity` runs, those that were fed last."""
        while len(self._traces) > capacity:
            del self._traces[next(iter(self._traces))]

    def feed(self, run_id: str, fact: Fact) -> SpanRecord | None:
        """The span that ends with this fact, if one does; `KeyError` when the run is not known."""
        trace = self._traces.pop(run_id)
        if not isinstance(fact, RunEnded):
            self._traces[run_id] = trace  # now the one fed last
        return self._fold(trace, fact)

    def _fold(self, trace: _Trace, fact: Fact) -> SpanRecord | None:
        """Let a fact be true, and say which span it ends."""
        fact = without_payload(fact)
        before = trace.run
        trace.run = evolve(before, fact)
        if isinstance(fact, RunEnded):
            return _run_span(trace, fact, self._origin)
        step, index = getattr(fact, "step", None), getattr(fact, "host_index", None)
        if step is None or index is None or isinstance(fact, ResultIgnored):
            tell_run(trace.story, fact)
            return None
        was, task = before.steps[step][index], trace.run.steps[step][index]
        story = trace.task(step, index, undo=task.undoing)
        tell(story, fact)
        if not _is_over(task):
            if _is_over(was) and was.undoing == task.undoing:
                story.since = fact.at
            return None
        if _is_over(was) and was.undoing == task.undoing:
            return None
        story, span_id = trace.finish(step, index, undo=task.undoing)
        return _task_span(trace.run.head, task, story, fact, span_id, self._origin)


def _is_over(task: Task) -> bool:
    """Whether the task's way forward, or its undo, has ended; an undo that a person may retry has not."""
    if task.undoing:
        return task.status is StepStatus.COMPENSATED or task.given_up
    return task.status in _OVER


def _run_span(trace: _Trace, fact: RunEnded, origin: Origin) -> SpanRecord:
    """The root of Baton's part of the trace."""
    head, result = trace.run.head, _RUN_RESULT[fact.status]
    attributes = _common(head) | {
        "cicd.pipeline.action.name": "RUN",
        "cicd.pipeline.result": result,
        "baton.run.status": str(fact.status),
        "baton.run.version": trace.run.version,
    }
    if head.parent is not None:
        attributes["baton.parent.run.id"] = head.parent.run_id
    if head.retry_of:
        attributes["baton.retried.run.id"] = head.retry_of
    if origin.url:
        attributes["cicd.pipeline.run.url.full"] = f"{origin.url}/api/runs/{head.id}"
    if result in _BAD:
        attributes["error.type"] = trace.run.failure.code if trace.run.failure else "_OTHER"
    return SpanRecord(
        trace_id=head.trace.trace_id,
        span_id=head.trace.span_id,
        parent_id=head.trace.parent_id,
        remote_parent=bool(head.trace.parent_id) and head.parent is None,
        name=f"run {head.workflow}",
        kind="server",
        start=head.created_at,
        end=max(head.created_at, fact.at),
        attributes=attributes,
        events=tuple(trace.story.events),
        failed=result in _BAD,
    )


def _task_span(
    head: RunHead, task: Task, story: Story, fact: Any, span_id: str, origin: Origin
) -> SpanRecord | None:
    """The span of a task's way forward or of its undo; None if nothing of it was ever to be seen."""
    undo, step = task.undoing, fact.step
    start = story.since or (task.undo_started_at if undo else task.started_at)
    result = _task_result(task, fact)
    if start is None:
        if result not in _BAD:
            return None  # skipped or cancelled before anything was sent
        start = fact.at  # no command could even be made: that must show
    attributes = _common(head) | {
        "cicd.pipeline.task.name": step,
        "cicd.pipeline.task.run.id": f"{step}/{fact.host_index}{'/undo' if undo else ''}",
        "cicd.pipeline.task.run.result": result,
        "baton.step": step,
        "baton.attempts": task.undo_attempt if undo else task.attempt,
    }
    if origin.url:
        attributes["cicd.pipeline.task.run.url.full"] = f"{origin.url}/api/runs/{head.id}#{step}"
    attributes |= _work(task, story, fact, origin)
    if result in _BAD:
        error = task.undo_error if undo else task.error
        attributes["error.type"] = error.code if error else "_OTHER"
    return SpanRecord(
        trace_id=head.trace.trace_id,
        span_id=span_id,
        parent_id=head.trace.span_id,
        name=f"{'undo' if undo else 'step'} {step}",
        kind="internal" if story.wait and not story.action else "producer",
        start=start,
        end=max(start, fact.at),
        attributes=attributes,
        events=tuple(story.events),
        failed=result in _BAD,
    )


def _work(task: Task, story: Story, fact: Any, origin: Origin) -> dict[str, Attribute]:
    """What was done, by whom, and the message that asked for it; or what was waited for or published."""
    if story.wait:
        child: dict[str, Attribute] = {"baton.child.run.id": story.child} if story.child else {}
        return {"baton.wait": story.wait} | child
    if story.emitted:
        return _published(origin.topology.events, story.emitted, origin.topology.events, origin)
    agent = (getattr(fact, "agent", "") if task.undoing else task.agent) or _agent_of(task.target)
    by: dict[str, Attribute] = {"baton.agent": agent} if agent else {}
    if not story.action:
        return by
    kind, _, _ = task.target.partition(".")
    template = f"{origin.topology.namespace}.{kind}.{{name}}"
    sent = _published(origin.topology.commands, task.target, template, origin)
    return {"baton.action": story.action} | by | sent


def _task_result(task: Task, fact: Fact) -> str:
    """`cicd.pipeline.task.run.result` of the fact that ended the task."""
    match fact:
        case AttemptSucceeded() | TaskDone() | TaskResolved(decision="done"):
            return "success"
        case AttemptFailed(outcome=StepStatus.FAILED, status=status, error=error):
            return "timeout" if error.code in _WAITED else _FAILURE.get(status, "failure")
        case TaskResolved() if task.undoing:
            return "failure"
    return "skip" if task.status is StepStatus.SKIPPED else "cancellation"


def _common(head: RunHead) -> dict[str, Attribute]:
    """What every span of a run says, so that each can be found by itself."""
    return {
        "cicd.pipeline.name": head.workflow,
        "cicd.pipeline.run.id": head.id,
        "baton.run.id": head.id,
    }


def _published(exchange: str, key: str, template: str, origin: Origin) -> dict[str, Attribute]:
    """The message that was sent: its context is this span's, which makes this the producer's span."""
    attributes: dict[str, Attribute] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": f"{exchange}:{key}",
        "messaging.destination.template": template,
        "messaging.rabbitmq.destination.routing_key": key,
    }
    if origin.broker:
        attributes["server.address"] = origin.broker
    if origin.broker and origin.broker_port:
        attributes["server.port"] = origin.broker_port
    return attributes


def _agent_of(target: str) -> str:
    """The agent that a routing key names; none when it names a pool."""
    return target.removeprefix("agent.") if target.startswith("agent.") else ""
