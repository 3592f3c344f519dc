"""The page on telemetry names what there is, and nothing else."""

import re
from pathlib import Path

from msgspec.structs import replace

from orchestrator.core.facts import (
    EventEmitted,
    Fact,
    PivotPassed,
    QuerySent,
    RunEnded,
    RunMoved,
    RunPaused,
    RunResumed,
    RunStarted,
    StepsReset,
    TaskDone,
    TaskInDoubt,
    TaskResolved,
    TaskWaiting,
)
from orchestrator.core.model import ParentRef, RunStatus, StepStatus, Wait, WaitOn
from orchestrator.metrics import Metrics
from orchestrator.telemetry.projection import Origin, Projection
from tests.support.facts import failed, going_back, head, sent, succeeded

PAGE = (Path(__file__).parents[3] / "docs" / "telemetry.md").read_text()


def test_the_page_lists_every_metric() -> None:
    """Names and types are those of the registry."""
    there = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name: metric.type
        for metric in Metrics().registry.collect()
    }
    told = dict(re.findall(r"^\| `(baton_\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert told == there


def test_the_page_lists_every_attribute_and_event() -> None:
    """What a run that fails in every way puts on its spans stands on the page, and the other way round."""
    child = Wait(WaitOn.CHILD, child="r2")
    facts: list[Fact] = [
        RunStarted(at=1, steps=["a", "b", "c", "d"]),
        RunPaused(at=1, who="x"),
        RunResumed(at=1, who="x"),
        RunMoved(at=1, version="v2", steps=["a", "b", "c", "d"], who="x"),
        PivotPassed(at=1, step="none"),
        TaskWaiting(at=1, step="c", host_index=0, attempt=1, wait=child),
        TaskDone(at=1, step="c", host_index=0),
        EventEmitted(at=1, step="d", host_index=0, attempt=1, event_id="e", type="t"),
        TaskDone(at=1, step="d", host_index=0),
        StepsReset(at=1, steps=["d"], who="x"),
        sent("a", 1),
        TaskInDoubt(at=2, step="a", host_index=0, command_id="c", why=""),
        QuerySent(at=2, step="a", host_index=0, command_id="c", agents=["web-1"], due=3),
        TaskResolved(at=3, step="a", host_index=0, decision="done", who="x"),
        sent("b", 3),
        failed("b", 4, retry_at=5),
        sent("b", 5, attempt=2),
        failed("b", 6),
        going_back(6),
        sent("a", 6, undo=True),
        failed("a", 7, undo=True, outcome=StepStatus.COMPENSATION_FAILED),
        TaskResolved(at=8, step="a", host_index=0, decision="retry", who="x"),
        sent("a", 8, attempt=2, undo=True),
        succeeded("a", 9),
        RunEnded(at=9, status=RunStatus.COMPENSATED),
    ]
    projection = Projection(Origin(url="http://baton", broker="mq", broker_port=5672))
    parent = ParentRef("p", "s", 0, 1, 1)
    projection.learn(replace(head(), parent=parent, retry_of="r0"))
    spans = [span for fact in facts if (span := projection.feed("r1", fact))]
    assert len(spans) == 6
    there = {name for span in spans for name in span.attributes}
    there |= {event.name for span in spans for event in span.events}
    there |= {name for span in spans for event in span.events for name in event.attributes}
    part = PAGE[PAGE.index("### Attributes") : PAGE.index("The coordinator speaks")]
    told = set(re.findall(r"`((?:baton|cicd|messaging|server|error)\.[a-z_.]+)`", part))
    assert told - {"baton.cancel.sent"} == there
