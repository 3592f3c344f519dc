"""An engine that breaks a rule fails the suite: each of these mistakes is planted, and must be caught."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core import answers, children, concluding, going_back, machine, sending
from orchestrator.core.definition import StepDef
from orchestrator.core.facts import TaskDone
from orchestrator.core.model import StepStatus, Task
from orchestrator.core.turn import Turn
from orchestrator.scenario import engine
from orchestrator.scenario.playing import play
from orchestrator.scenario.reading import Case
from orchestrator.scenario.running import find_files, read_all

HERE = Path(__file__).parent
CASES = [case for _, cases in read_all(find_files([HERE])) for case in cases]

_quiesce = going_back.quiesce
_wants_undo = going_back.wants_undo


def undo_before_quiesce(turn: Turn) -> bool:
    """What runs is cancelled, but nobody waits for it."""
    _quiesce(turn)
    return True


def undo_all_at_once(turn: Turn) -> None:
    """No undo waits for another."""
    for name, indexes in going_back._wanted(turn).items():
        for index in indexes:
            step = turn.definition.steps[name]
            if not turn.task(step, index).undoing:
                sending.send_undo(turn, step, index)


def undo_what_failed(step: StepDef, task: Task) -> bool:
    """A step that reported failure is taken for one with effect."""
    failed = step.can_undo and task.status is StepStatus.FAILED
    return failed or _wants_undo(step, task)


def undo_no_batch_first(_step: StepDef, tasks: tuple[Task, ...], wanted: list[int]) -> list[int]:
    """All hosts and items at once, whatever their batch."""
    return [index for index in wanted if not tasks[index].undoing]


def forget_the_child(turn: Turn, step: StepDef, index: int) -> None:
    """A child's step is called undone, and the child is not asked."""
    turn.record(TaskDone(at=turn.env.now, step=step.id, host_index=index, undo=True))


def take_doubt_for_failure(turn: Turn, step: StepDef, index: int, _why: str) -> None:
    """Past its deadline an attempt is simply made again."""
    sending.send(turn, step, index)


MISTAKES: list[tuple[int, Any, str, Callable[..., Any]]] = [
    (2, concluding, "may_retry", lambda *_, **__: False),
    (3, machine, "quiesce", undo_before_quiesce),
    (4, machine, "undo", undo_all_at_once),
    (4, going_back, "wants_undo", undo_what_failed),
    (4, going_back, "ready_undo", undo_no_batch_first),
    (6, machine, "_pass_pivot", lambda _turn: None),
    (7, machine, "doubt", take_doubt_for_failure),
    (8, answers, "_why_ignored", lambda _run, _result: ""),
    (10, children, "undo_child", forget_the_child),
]


def fails(case: Case) -> bool:
    """Whether a scenario notices; an engine that breaks down has been noticed too."""
    try:
        return bool(play(case).mismatches)
    except Exception:  # noqa: BLE001 - whatever a broken engine raises
        return True


@pytest.mark.parametrize(
    ("rule", "module", "name", "mistake"), MISTAKES, ids=lambda part: part if isinstance(part, str) else ""
)
def test_a_broken_rule_is_noticed(
    monkeypatch: pytest.MonkeyPatch, rule: int, module: Any, name: str, mistake: Callable[..., Any]
) -> None:
    """Some scenario about the rule fails once it is broken, and none did before."""
    monkeypatch.setattr(engine, "_MAX_HANDLED", 1_000)  # a broken engine may go round in circles
    about = [case for case in CASES if rule in case.scenario.rules]
    monkeypatch.setattr(module, name, mistake)
    noticed = next((case for case in about if fails(case)), None)
    monkeypatch.undo()
    assert noticed is not None
    assert not fails(noticed)
