"""From a workflow document to a `Definition`, or to the list of everything that is wrong with it.

Which names an expression may use depends on where it stands:

- a trigger's `if`, `key`, `input`: `event`
- a step's `if`, `with`, `target`: `event input steps run`; of `steps` only those that surely came before
- a step's `output`: the same and the step itself, whose `output` is then what the action gave
- `compensate`: as a step's `output`, and `failure`
- the workflow's `output`: `event input steps run`, every step
"""

from collections.abc import Iterable
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Final

import msgspec

from orchestrator.core.definition import (
    Definition,
    InvalidDefinition,
    Path,
    Problem,
    RetryPolicy,
    StepDef,
    Target,
    TriggerDef,
    UndoDef,
)
from orchestrator.core.expressions import Expression, ExpressionError, Wanted
from orchestrator.core.graph import closure, cycles, reverse
from orchestrator.core.input_schema import InputSchema, check_schema
from orchestrator.core.lexing import Mention
from orchestrator.core.templates import Template
from schemas.codec import MAX_MESSAGE_BYTES
from schemas.errors import InvalidInput
from schemas.names import check_name
from schemas.times import Micros, parse_duration
from schemas.workflow import Compensate, Retry, Selector, Step, Trigger, Workflow

__all__ = ["compile_definition"]

_TRIGGER_SCOPE: Final = frozenset({"event"})
_STEP_SCOPE: Final = frozenset({"event", "input", "steps", "run"})
_UNDO_SCOPE: Final = _STEP_SCOPE | {"failure"}
_STEP_FIELDS: Final = ("status", "output", "attempts", "error")

_MANY_PROBLEMS: Final = 50

_SECOND: Final[Micros] = 1_000_000
_TIMEOUT: Final[Micros] = 600 * _SECOND
_FORWARD: Final = RetryPolicy(attempts=1, delay=_SECOND, backoff=2.0, max_delay=30 * _SECOND)
_FORWARD_IDEMPOTENT: Final = RetryPolicy(attempts=3, delay=_SECOND, backoff=2.0, max_delay=30 * _SECOND)
_UNDO: Final = RetryPolicy(attempts=10, delay=2 * _SECOND, backoff=2.0, max_delay=300 * _SECOND)
_NOTHING: Final = Template.compile({}, frozenset())


def compile_definition(document: Workflow) -> Definition:
    """Check and compile a document; raise `InvalidDefinition` with every problem that it has."""
    return _Compiler(document).compile()


class _Compiler:
    """Gathers the problems of one document while it builds the definition."""

    def __init__(self, document: Workflow) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.content = msgspec.json.encode(document, order="sorted")
        self.ids = {step.id: i for i, step in reversed(list(enumerate(document.steps)))}
        self.needs: dict[str, tuple[str, ...]] = {}
        self.upstream: dict[str, frozenset[str]] = {}
        self.all_ids = frozenset(self.ids)

    def compile(self) -> Definition:
        document = self.document
        if len(self.content) > MAX_MESSAGE_BYTES:
            size = f"{len(self.content)} bytes as JSON"
            self._problem((), f"{size}, more than the limit of {MAX_MESSAGE_BYTES}", "keep data out of it")
        self._check_ids()
        self._order()
        triggers = tuple(
            self._trigger(trigger, ("triggers", i)) for i, trigger in enumerate(document.triggers)
        )
        self.problems += [
            Problem(("input", *fault.path), fault.message, fault.hint)
            for fault in check_schema(document.input)
        ]
        steps = {step.id: self._step(step, i) for i, step in enumerate(document.steps)}
        output = self._output(document.output, ("output",), self.all_ids)
        if self.problems:
            raise InvalidDefinition(self.problems)
        return Definition(
            document=document,
            version=sha256(self.content).hexdigest(),
            steps=steps,
            triggers=triggers,
            output=output,
            input_schema=InputSchema(document.input),
        )

    def _problem(self, path: Path, message: str, hint: str = "", offset: int = 0) -> None:
        self.problems.append(Problem(path, message, hint, offset))

    def _order_problem(self, path: Path, message: str, hint: str = "", offset: int = 0) -> None:
        self.problems.append(Problem(path, message, hint, offset, order=True))

    def _suggestion(self, step: str) -> str:
        """The id that was meant, perhaps; not for a document so wrong that looking would take long."""
        return _near(step, self.all_ids) if len(self.problems) < _MANY_PROBLEMS else ""

    # The order of the steps

    def _check_ids(self) -> None:
        for i, step in enumerate(self.document.steps):
            if self.ids[step.id] != i:
                self._problem(("steps", i, "id"), f"a second step with the id '{step.id}'", "ids must differ")

    def _order(self) -> None:
        """Find out who needs whom; upstream stays unknown for what stands on or behind a circle."""
        for i, step in enumerate(self.document.steps):
            needs = self._needs(step, i)
            if self.ids[step.id] == i:
                self.needs[step.id] = needs
        self.upstream = closure(self.needs)
        if len(self.upstream) == len(self.needs):
            self.dependents = closure(reverse(self.needs))
            return
        self.dependents = {}
        for circle in cycles(self.needs):
            names = " -> ".join((*circle, circle[0]))
            self._order_problem(
                ("steps", self.ids[circle[0]], "needs"), f"steps need each other in a circle: {names}"
            )

    def _needs(self, step: Step, index: int) -> tuple[str, ...]:
        if step.needs is None:
            above = self.document.steps[index - 1].id if index else step.id
            return () if above == step.id else (above,)
        known = []
        for i, needed in enumerate(step.needs):
            path = ("steps", index, "needs", i)
            if needed == step.id:
                self._problem(path, f"step '{needed}' needs itself")
            elif needed not in self.ids:
                self._problem(path, f"unknown step '{needed}'", self._suggestion(needed))
            else:
                known.append(needed)
        return tuple(dict.fromkeys(known))

    # The parts

    def _trigger(self, trigger: Trigger, path: Path) -> TriggerDef:
        scope, none = _TRIGGER_SCOPE, frozenset[str]()
        return TriggerDef(
            event=trigger.event or "",
            condition=self._expression(trigger.if_, (*path, "if"), scope, none, "bool"),
            key=self._expression(trigger.key, (*path, "key"), scope, none, "text"),
            input=None
            if trigger.input is None
            else self._template(trigger.input, (*path, "input"), scope, none),
        )

    def _step(self, step: Step, index: int) -> StepDef:
        path: Path = ("steps", index)
        before = self.upstream.get(step.id, self.all_ids)
        self_too = before | {step.id}
        return StepDef(
            id=step.id,
            index=index,
            needs=self.needs.get(step.id, ()),
            upstream=before,
            dependents=self.dependents.get(step.id, frozenset()),
            condition=self._expression(step.if_, (*path, "if"), _STEP_SCOPE, before, "bool"),
            kind="action",
            action=step.action or "",
            priority=self.document.priority,
            start_within=None,
            args=self._template(step.with_, (*path, "with"), _STEP_SCOPE, before),
            target=self._target(step.target or "", (*path, "target"), _STEP_SCOPE, before),
            timeout=self._timeout(step.timeout, (*path, "timeout")),
            retry=self._retry(
                step.retry, (*path, "retry"), _FORWARD_IDEMPOTENT if step.idempotent else _FORWARD
            ),
            idempotent=step.idempotent,
            compensate=None
            if step.compensate is None
            else self._undo(step.compensate, (*path, "compensate"), self_too),
            output=self._output(step.output, (*path, "output"), self_too),
        )

    def _undo(self, undo: Compensate, path: Path, before: frozenset[str]) -> UndoDef:
        return UndoDef(
            action=undo.action,
            args=self._template(undo.with_, (*path, "with"), _UNDO_SCOPE, before),
            target=None
            if undo.target is None
            else self._target(undo.target, (*path, "target"), _UNDO_SCOPE, before),
            timeout=self._timeout(undo.timeout, (*path, "timeout")),
            start_within=None,
            retry=self._retry(undo.retry, (*path, "retry"), _UNDO),
            idempotent=undo.idempotent,
            after_failure=undo.after_failure,
        )

    def _target(
        self, target: str | Selector, path: Path, scope: frozenset[str], before: frozenset[str]
    ) -> Target:
        if isinstance(target, Selector):
            path = (*path, "pool")
            result = Target("pool", self._template(target.pool or "", path, scope, before))
        else:
            result = Target("agent", self._template(target, path, scope, before))
        if result.name.is_constant and result.name is not _NOTHING:
            try:
                check_name(result.name.render_text({}), f"{result.kind} name")
            except InvalidInput as error:
                self._problem(path, error.message, error.hint)
        return result

    def _output(self, output: Any, path: Path, before: frozenset[str]) -> Template | None:
        return None if output is msgspec.UNSET else self._template(output, path, _STEP_SCOPE, before)

    def _timeout(self, text: str | None, path: Path) -> Micros:
        length = self._duration(text, path, _TIMEOUT)
        if length == 0:
            self._problem(path, "a timeout of 0 leaves no time at all", "leave it out for 10m")
        return length

    def _retry(self, retry: Retry | None, path: Path, default: RetryPolicy) -> RetryPolicy:
        """The policy; of an unset pair of delays the one gives way to the other that is set."""
        if retry is None:
            return default
        delay = self._duration(retry.delay, (*path, "delay"), default.delay)
        max_delay = self._duration(retry.max_delay, (*path, "max_delay"), max(default.max_delay, delay))
        if retry.delay is None:
            delay = min(delay, max_delay)
        elif max_delay < delay:
            self._problem(
                (*path, "max_delay"), "max_delay is shorter than delay", "make it as long or longer"
            )
        return RetryPolicy(
            attempts=retry.attempts or default.attempts,
            delay=delay,
            backoff=retry.backoff or default.backoff,
            max_delay=max_delay,
        )

    def _duration(self, text: str | None, path: Path, default: Micros) -> Micros:
        if text is None:
            return default
        try:
            return parse_duration(text)
        except InvalidInput as error:
            self._problem(path, error.message, error.hint)
            return default

    # Expressions

    def _expression(
        self, source: str | None, path: Path, scope: frozenset[str], before: frozenset[str], wanted: Wanted
    ) -> Expression | None:
        if source is None:
            return None
        try:
            expression = Expression.compile(source, scope, wanted=wanted)
        except ExpressionError as error:
            self._faults(error, path)
            return None
        self._check_mentions(((path, mention) for mention in expression.mentions), before)
        return expression

    def _template(self, value: Any, path: Path, scope: frozenset[str], before: frozenset[str]) -> Template:
        try:
            template = Template.compile(value, scope)
        except ExpressionError as error:
            self._faults(error, path)
            return _NOTHING
        self._check_mentions((((*path, *place), mention) for place, mention in template.mentions), before)
        return template

    def _faults(self, error: ExpressionError, path: Path) -> None:
        for fault in error.faults:
            self._problem((*path, *fault.path), fault.message, fault.hint, fault.offset)

    def _check_mentions(self, found: Iterable[tuple[Path, Mention]], before: frozenset[str]) -> None:
        """Refuse steps that do not exist, or that need not have ended when the expression is evaluated."""
        for path, mention in found:
            step, offset = str(mention.step), mention.offset
            if step not in self.ids:
                self._problem(path, f"unknown step '{step}'", self._suggestion(step), offset)
            elif step not in before:
                self._order_problem(path, *_not_before(path, self.document.steps, step), offset)
            elif mention.field is not None and mention.field not in _STEP_FIELDS:
                hint = _near(mention.field, _STEP_FIELDS)
                message = f"a step has no '{mention.field}', only {', '.join(_STEP_FIELDS)}"
                self._problem(path, message, hint, mention.field_offset)


def _not_before(path: Path, steps: list[Step], mentioned: str) -> tuple[str, str]:
    """Message and hint for an expression that reads a step which may not have ended by then."""
    own = steps[int(path[1])].id
    if own == mentioned:
        return f"step '{own}' cannot read its own result before it has one", "only output and compensate can"
    message = f"step '{mentioned}' need not have ended before '{own}'"
    return message, f"add '{mentioned}' to the needs of '{own}'"


def _near(word: str, known: Iterable[str]) -> str:
    """`did you mean 'fetch'?`, or nothing when nothing is near."""
    near = get_close_matches(word, list(known), 1)
    return f"did you mean '{near[0]}'?" if near else ""
