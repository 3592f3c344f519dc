"""From a workflow document to a `Definition`, or to the list of everything that is wrong with it.

Which names an expression may use depends on where it stands:

- a trigger's `if`, `key`, `input`: `event`
- `concurrency.group`: `event input run`
- a step's `if`, `foreach`: `event input steps run`; of `steps` only those that surely came before
- its `with`, `target`, and the texts of `wait_for approve sleep emit`: the same; with `foreach` also `item`
- its `with` on a fan-out over hosts: the same and `host`
- `wait_for.correlate.from`: the awaited `event`; `wait_for.if`: the same names as `with`, but `event` is the
  awaited one
- its `output`: as `with`, and the step itself, whose `output` is then what came of this one task
- `compensate`: as `output`, and `failure`
- the workflow's `output`: `event input steps run`, every step
"""

from orchestrator.core.compiler.circles import group_deadlocks, workflow_circles
from orchestrator.core.compiler.document import compile_definition

__all__ = ["compile_definition", "group_deadlocks", "workflow_circles"]
