"""Starts child runs, in the transaction of the parent's move that wants them."""

from orchestrator.core.definition import Definition
from orchestrator.core.inputs import ChildEnded, StartChild
from orchestrator.core.model import ParentRef, Run, RunHead, TraceContext
from orchestrator.starting.triggers import check_input

__all__ = ["cannot_start", "child_head", "not_started"]


def cannot_start(definition: Definition | None, child: StartChild) -> tuple[str, str] | None:
    """Why a child run cannot be started, as (code, message); None when it can."""
    if definition is None:
        return "no_such_workflow", f"there is no workflow '{child.workflow}'"
    problem = check_input(definition, child.input)
    return ("bad_input", f"the input of '{child.workflow}': {problem}") if problem else None


def child_head(definition: Definition, parent: Run, child: StartChild, now: int, span_id: str) -> RunHead:
    """The head of a child run: without a key, in its parent's trace. `span_id` is its own in that."""
    return RunHead(
        id=child.run_id,
        workflow=definition.name,
        version=definition.version,
        key="",
        created_at=now,
        trace=TraceContext(parent.head.trace.trace_id, span_id, child.span_id),
        shard=parent.head.shard,
        input=child.input,
        parent=_parent_ref(parent, child),
        priority=child.priority,
        hops=parent.head.hops,
    )


def _parent_ref(parent: Run, child: StartChild) -> ParentRef:
    """For which task of which run a child run is."""
    above = parent.head.parent
    groups, holders = (above.groups, above.holders) if above is not None else ((), ())
    if parent.head.group:
        groups, holders = (*groups, parent.head.group), (*holders, parent.head.id)
    depth = 1 + (0 if above is None else above.depth)
    return ParentRef(parent.head.id, child.step, child.host_index, child.attempt, depth, groups, holders)


def not_started(child: StartChild, code: str, message: str) -> ChildEnded:
    """What the parent is told instead of a child run's end."""
    return ChildEnded(child.step, child.host_index, child.run_id, "failed", code=code, message=message)
