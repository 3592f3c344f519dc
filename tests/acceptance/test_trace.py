"""One trace from the publisher to the agents' spans, although the coordinator is killed in mid-run."""

import asyncio
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.support.processes import CoordinatorProcess, Stage
from tests.support.waiting import until

EVENT = "com.example.trace.wanted"
COORDINATOR = "baton-coordinator"

DOCUMENT = """
workflow: traced
triggers:
  - event: {event}
steps:
  - id: first
    action: exec.run
    target: web-1
    with: {{argv: ["true"]}}
    compensate: {{action: exec.run, with: {{argv: ["true"]}}}}
  - id: second
    action: exec.run
    target: web-2
    with: {{argv: [sh, -c, "while [ ! -e {gate} ]; do sleep 0.02; done"]}}
  - id: third
    action: exec.run
    target: web-1
    with: {{argv: ["{last}"]}}
"""

POINTS = [
    "coordinator.before_commit:1",
    "coordinator.before_ack:1",
    "coordinator.after_publish:1",
    "coordinator.after_commit:3",
    "telemetry.after_export:1",
]
STEPS = ["step first", "step second", "step third"]


@dataclass
class Publisher:
    """A business system that traces: its trace goes on in the run."""

    trace_id: str
    span_id: str

    @property
    def headers(self) -> dict[str, str]:
        """What it puts on its event."""
        return {"traceparent": f"00-{self.trace_id}-{self.span_id}-01"}


@pytest.fixture
def publisher() -> Publisher:
    """One with new ids."""
    return Publisher(secrets.token_hex(16), secrets.token_hex(8))


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Where all processes send their spans."""
    with OtlpReceiver() as running:
        yield running


@dataclass
class Scene:
    """A coordinator and two agents; the run's second step waits until `gate` exists."""

    coordinator: CoordinatorProcess
    gate: Path


async def begin(stage: Stage, receiver: OtlpReceiver, last: str = "true") -> Scene:
    """Start the processes and apply the workflow; its third step runs the program `last`."""
    stage.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    gate = stage.directory / "gate"
    coordinator = await stage.coordinator()
    await coordinator.apply(DOCUMENT.format(event=EVENT, gate=gate, last=last))
    await stage.agent("web-1")
    await stage.agent("web-2")
    return Scene(coordinator, gate)


def check_tree(spans: list[ReceivedSpan], publisher: Publisher, names: list[str], works: int) -> None:
    """One trace below the publisher, with these spans of the coordinator and so many of the agents."""
    distinct = {span.span_id: span for span in spans}
    assert {span.trace_id for span in spans} == {publisher.trace_id}
    roots = [span for span in distinct.values() if span.parent_id == publisher.span_id]
    assert [span.name for span in roots] == ["run traced"]
    root = roots[0]
    for span in distinct.values():
        assert span is root or span.parent_id in distinct, f"{span.name} has lost its parent"
        assert root.start <= span.start <= span.end
    ours = [span for span in distinct.values() if span.service == COORDINATOR]
    assert sorted(span.name for span in ours) == sorted(["run traced", *names])
    assert all(span.parent_id == root.span_id for span in ours if span is not root)
    agents = [span for span in distinct.values() if span.service != COORDINATOR]
    assert [span.kind for span in agents] == ["consumer"] * works
    parents = Counter(distinct[span.parent_id].name for span in agents)
    assert parents == Counter(names)


def check_none_twice(spans: list[ReceivedSpan]) -> None:
    """Every span came once."""
    twice = [name for (name, _), count in Counter((s.name, s.span_id) for s in spans).items() if count > 1]
    assert twice == []


def committed_cursor(stage: Stage) -> int:
    """How far the coordinator knows that its spans have left."""
    with closing(sqlite3.connect(stage.environment["BATON_DB"])) as db:
        (cursor,) = db.execute("SELECT telemetry_cursor FROM shards").fetchone()
    return int(cursor)


async def test_a_run_is_one_trace_from_the_publisher_to_the_agents(
    stage: Stage, receiver: OtlpReceiver, publisher: Publisher
) -> None:
    """The run is below the publisher's span, the steps below the run, the agents' work below the steps."""
    scene = await begin(stage, receiver)
    scene.gate.touch()
    await stage.publish(EVENT, {}, headers=publisher.headers)
    run = await scene.coordinator.ended()
    assert (run["status"], run["trace_id"]) == ("succeeded", publisher.trace_id)
    await stage.stop()
    check_tree(receiver.spans, publisher, STEPS, works=3)
    check_none_twice(receiver.spans)


async def test_the_trace_survives_a_kill_between_exports(
    stage: Stage, receiver: OtlpReceiver, publisher: Publisher
) -> None:
    """Killed in the second step, after the first one's span has left: nothing is lost, nothing twice."""
    scene = await begin(stage, receiver)
    await stage.publish(EVENT, {}, headers=publisher.headers)
    await asyncio.to_thread(receiver.wait_for, lambda spans: any(span.name == "step first" for span in spans))
    await until(lambda: committed_cursor(stage) > 0)
    await scene.coordinator.kill()
    scene.gate.touch()
    await scene.coordinator.start()
    assert (await scene.coordinator.ended())["status"] == "succeeded"
    await stage.stop()
    check_tree(receiver.spans, publisher, STEPS, works=3)
    check_none_twice(receiver.spans)


@pytest.mark.timeout(300)
async def test_the_trace_survives_a_kill_at_any_point(stage: Stage, receiver: OtlpReceiver) -> None:
    """One whole tree, wherever the coordinator died; its failed step and its undo included.

    Only what left in the very export that the kill cut off from its commit may come again, as it was: that is
    what at-least-once means, and the ids tell a backend that it is the same span.
    """
    scene = await begin(stage, receiver, last="false")
    scene.gate.touch()
    publishers: list[Publisher] = []
    cut_off: list[ReceivedSpan] = []
    for point in POINTS:
        publishers.append(Publisher(secrets.token_hex(16), secrets.token_hex(8)))
        await scene.coordinator.stop()
        await scene.coordinator.start(failpoint=point)
        await stage.publish(EVENT, {}, headers=publishers[-1].headers)
        await scene.coordinator.died()
        sent = [batch for batch in receiver.batches if batch[0].service == COORDINATOR]
        cut_off += sent[-1] if sent else []
        await scene.coordinator.start()
        run = await scene.coordinator.ended(trace_id=publishers[-1].trace_id)
        assert run["status"] == "compensated", (point, run)
    await stage.stop()
    for point, publisher in zip(POINTS, publishers, strict=True):
        spans = [span for span in receiver.spans if span.trace_id == publisher.trace_id]
        check_tree(spans, publisher, [*STEPS, "undo first"], works=4)
        twice = [span for span in spans if spans.count(span) > 1]
        assert all(span in cut_off for span in twice), point
        check_none_twice([span for span in spans if span not in twice])
        if point.startswith("telemetry."):
            assert twice, "this kill is always between the export and its commit"


async def test_a_backend_that_comes_late_gets_the_whole_trace(
    stage: Stage, receiver: OtlpReceiver, publisher: Publisher
) -> None:
    """The coordinator's history is the buffer, across its own restart too."""
    scene = await begin(stage, receiver)
    receiver.status = 503
    scene.gate.touch()
    await stage.publish(EVENT, {}, headers=publisher.headers)
    await scene.coordinator.ended()
    await scene.coordinator.kill()
    assert not any(span.service == COORDINATOR for span in receiver.spans)
    receiver.status = 200
    await scene.coordinator.start()
    await asyncio.to_thread(
        receiver.wait_for, lambda spans: {*STEPS, "run traced"} <= {span.name for span in spans}
    )
    await stage.stop()
    check_none_twice(receiver.spans)
