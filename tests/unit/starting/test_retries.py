"""Which results the retry of an ended run keeps, and when there can be none."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import Definition
from orchestrator.core.model import Failure, ParentRef, Run, RunStatus, StepStatus, Task
from orchestrator.starting.retries import kept_steps
from schemas.errors import BatonError, Conflict
from schemas.workflow import Workflow
from tests.support.facts import head

DONE = Task(status=StepStatus.SUCCEEDED, effect=True, output=1)
FAILED = Task(status=StepStatus.FAILED)
CANCELLED = Task(status=StepStatus.CANCELLED)


def definition(**changes: dict[str, Any]) -> Definition:
    """`a` and `b` side by side, `c` after both, `d` after `b`; fields of a step may be changed."""
    needs: dict[str, list[str]] = {"a": [], "b": [], "c": ["a", "b"], "d": ["b"]}
    made = [
        {"id": name, "needs": some, "action": "x.y", "target": "web-1", **changes.get(name, {})}
        for name, some in needs.items()
    ]
    return compile_definition(msgspec.convert({"workflow": "w", "steps": made}, Workflow))


def ended(*tasks: Task, status: RunStatus = RunStatus.FAILED, **changes: Any) -> Run:
    """A run that has ended, with these tasks as its steps `a` to `d`."""
    steps: dict[str, tuple[Task, ...]] = {name: (task,) for name, task in zip("abcd", tasks, strict=True)}
    run = Run(head=head(), steps=steps, ended=status, ended_at=9, failure=Failure("c", "boom"))
    return replace(run, **changes)


@pytest.mark.parametrize(
    ("tasks", "step", "kept"),
    [
        ((DONE, DONE, FAILED, CANCELLED), "c", "ab"),
        ((DONE, DONE, FAILED, DONE), "c", "abd"),
        ((DONE, DONE, FAILED, DONE), "a", "bd"),
        ((DONE, DONE, FAILED, DONE), "b", "a"),
        ((DONE, FAILED, CANCELLED, CANCELLED), "a", ""),
        ((DONE, replace(FAILED, tolerated=True), FAILED, DONE), "c", "abd"),
        ((replace(DONE, status=StepStatus.SKIPPED), DONE, FAILED, DONE), "d", "ab"),
    ],
)
def test_what_is_kept(tasks: tuple[Task, ...], step: str, kept: str) -> None:
    """Every step that is done, but for the one asked for and whatever depends on what is done again."""
    run = ended(*tasks)
    found = kept_steps(run, definition(), definition(), step)
    assert found == {name: run.steps[name] for name in kept}


GOOD = (DONE, DONE, FAILED, CANCELLED)
UNDONE = replace(DONE, undoing=True, status=StepStatus.COMPENSATED)


@pytest.mark.parametrize(
    ("run", "code", "words"),
    [
        (ended(*GOOD, status=RunStatus.SUCCEEDED), "not_retryable", "succeeded"),
        (ended(*GOOD, status=RunStatus.COMPENSATED), "not_retryable", "compensated"),
        (ended(UNDONE, *GOOD[1:], status=RunStatus.CANCELLED), "was_undone", "'a' was undone"),
        (ended(replace(UNDONE, given_up=True), *GOOD[1:]), "was_undone", "gave up on undoing 'a'"),
        (ended(*GOOD, head=replace(head(), parent=ParentRef("p", "s", 0, 1, 1))), "is_child", "child run"),
    ],
)
def test_why_there_can_be_none(run: Run, code: str, words: str) -> None:
    """The reason is said, with what to do instead."""
    with pytest.raises(Conflict, match=words) as refused:
        kept_steps(run, definition(), definition(), "c")
    assert refused.value.code == code
    assert refused.value.hint


def test_another_version_must_leave_what_is_kept_as_it_is() -> None:
    """Changes of what is done again are fine; of a kept step they are refused, as is one that is gone."""
    run, old = ended(*GOOD), definition()
    mended = definition(c={"with": {"n": 1}})
    assert set(kept_steps(run, old, mended, "c")) == {"a", "b"}
    with pytest.raises(Conflict, match="'a', whose results"):
        kept_steps(run, old, definition(a={"with": {"n": 1}}), "c")
    document = msgspec.convert(
        {"workflow": "w", "steps": [{"id": "b", "needs": [], "action": "x.y", "target": "web-1"}]}, Workflow
    )
    with pytest.raises(Conflict, match="'a' any more"):
        kept_steps(run, old, compile_definition(document), "b")


def test_a_step_must_be_there() -> None:
    """An unknown step is named, with those that there are."""
    with pytest.raises(BatonError, match="no step 'x'") as refused:
        kept_steps(ended(*GOOD), definition(), definition(), "x")
    assert "'a', 'b'" in refused.value.hint
