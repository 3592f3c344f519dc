"""Bugs planted in how runs go forward and back, each with the invariant that must see it."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from orchestrator.core import answers, going_back, machine, moves
from orchestrator.core.compiler import order
from orchestrator.core.concluding import may_retry
from orchestrator.core.definition import StepDef
from schemas.messages import NOT_STOPPABLE
from tests.simulation.planted import seen_by


@seen_by("a_step_waits_for_its_needs")
def read_no_needs() -> Iterator[None]:
    """The compiler takes it that no step needs another."""
    with patch.object(order, "_needs", lambda checks, step, index: ()):
        yield


@seen_by("undo_in_reverse_order")
def see_no_dependents() -> Iterator[None]:
    """The compiler takes it that no step comes after another."""
    with patch.object(order, "reverse", lambda needs: dict.fromkeys(needs, ())):
        yield


@seen_by("an_end_says_what_is_so")
def forget_to_undo_fan_outs() -> Iterator[None]:
    """A step with many tasks is taken for one without an undo."""

    def alone(step: StepDef) -> bool:
        undoable = step.compensate is not None or step.kind == "workflow"
        return undoable and not step.fans_out

    with patch.object(StepDef, "can_undo", property(alone)):
        yield


@seen_by("nothing_goes_forward_on_the_way_back")
def go_forward_on_the_way_back() -> Iterator[None]:
    """A run that goes back still begins what is ready."""
    quiesce = going_back.quiesce

    def busy(turn: Any) -> bool:
        machine._go_forward(turn)
        return quiesce(turn)

    with patch.object(machine, "quiesce", busy):
        yield


@seen_by("what_was_lost_is_tried_again_only_where_it_may")
def retry_what_was_lost() -> Iterator[None]:
    """An attempt of which nobody knows the end is made again, whatever `idempotent` and `on_unknown` say."""
    on_lost = answers._on_lost

    def blind(turn: Any, step: Any, task: Any, result: Any, error: Any) -> None:
        lost = error.code != NOT_STOPPABLE and not task.undoing
        if lost and may_retry(turn, step, task, retryable=True):
            answers._fail_attempt(turn, step, result, error, effect=True)
        else:
            on_lost(turn, step, task, result, error)

    with patch.object(answers, "_on_lost", blind):
        yield


@seen_by("ends_are_final")
def pause_what_has_ended() -> Iterator[None]:
    """A person's move is not asked whether the run has ended."""
    with patch.object(moves, "_check_live", lambda turn: None):
        yield


@seen_by("an_end_says_what_is_so")
def end_with_an_effect_left() -> Iterator[None]:
    """A run that goes back ends as soon as it is quiet."""
    with patch.object(going_back, "wants_undo", lambda step, task: False):
        yield
