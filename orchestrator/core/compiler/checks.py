"""What all of the compiler needs: the problems found so far, and expressions checked in their place."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from orchestrator.core.definition import Path, Problem
from orchestrator.core.expressions import Expression, ExpressionError, Wanted
from orchestrator.core.lexing import Mention
from orchestrator.core.templates import Template
from schemas.errors import InvalidInput
from schemas.times import Micros, parse_duration
from schemas.workflow import Selector, Step, Workflow

__all__ = ["NOTHING", "Checks", "View", "near", "on_all"]

NOTHING: Final = Template.compile({}, frozenset())
"""The empty map; also stands for a template that did not compile."""

_STEP_FIELDS: Final = ("status", "output", "attempts", "error")
_MANY_PROBLEMS: Final = 50


class View(NamedTuple):
    """What an expression sees: names, and of `steps` those that have surely ended by then."""

    names: frozenset[str]
    steps: frozenset[str] = frozenset()

    def plus(self, *names: str) -> "View":
        """The same and these names."""
        return View(self.names | set(names), self.steps)


class Checks:
    """The problems of one document, and the ways to find some. `ids` are the steps with their places."""

    def __init__(self, document: Workflow) -> None:
        self.problems: list[Problem] = []
        self.expressions: list[Expression] = []
        self.steps = document.steps
        self.ids = {step.id: i for i, step in reversed(list(enumerate(document.steps)))}

    def problem(self, path: Path, message: str, hint: str = "", offset: int = 0) -> None:
        """Record what is wrong at a path."""
        self.problems.append(Problem(path, message, hint, offset))

    def order_problem(self, path: Path, message: str, hint: str = "", offset: int = 0) -> None:
        """As `problem`, of something that follows from what the steps need."""
        self.problems.append(Problem(path, message, hint, offset, order=True))

    def suggestion(self, step: str) -> str:
        """The id that was meant, perhaps; not for a document so wrong that looking would take long."""
        return near(step, self.ids) if len(self.problems) < _MANY_PROBLEMS else ""

    # Expressions

    def expression(self, source: str | None, path: Path, view: View, wanted: Wanted) -> Expression | None:
        """The compiled expression; None when there is none, or it is wrong."""
        if source is None:
            return None
        try:
            expression = Expression.compile(source, view.names, wanted=wanted)
        except ExpressionError as error:
            self._faults(error, path)
            return None
        self.expressions.append(expression)
        self._check_mentions(((path, mention) for mention in expression.mentions), view)
        return expression

    def template(self, value: Any, path: Path, view: View, *, secrets: bool = False) -> Template:
        """The compiled template, which may name `secrets` or not; `NOTHING` when it is wrong."""
        try:
            template = Template.compile(value, view.names, secrets=secrets)
        except ExpressionError as error:
            self._faults(error, path)
            return NOTHING
        self.expressions.extend(template.expressions)
        self._check_mentions((((*path, *place), mention) for place, mention in template.mentions), view)
        return template

    def _faults(self, error: ExpressionError, path: Path) -> None:
        for fault in error.faults:
            self.problem((*path, *fault.path), fault.message, fault.hint, fault.offset)

    def _check_mentions(self, found: Iterable[tuple[Path, Mention]], view: View) -> None:
        """Refuse steps that do not exist, or that need not have ended when the expression is evaluated."""
        for path, mention in found:
            name, offset = str(mention.step), mention.offset
            if name not in self.ids:
                self.problem(path, f"unknown step '{name}'", self.suggestion(name), offset)
            elif name not in view.steps:
                self.order_problem(path, *_not_before(path, self.steps, name), offset)
            else:
                self._check_field(path, mention, self.steps[self.ids[name]])

    def _check_field(self, path: Path, mention: Mention, step: Step) -> None:
        known = (*_STEP_FIELDS, "hosts")
        if mention.field is None or mention.field in _STEP_FIELDS:
            return
        if mention.field not in known:
            message, hint = (
                f"a step has no '{mention.field}', only {', '.join(known)}",
                near(mention.field, known),
            )
        elif not on_all(step):
            message = f"step '{step.id}' has no hosts"
            hint = "only a step whose target has 'all' has them"
        elif path[:2] == ("steps", self.ids[step.id]):
            message, hint = "here the step is one host's", "read host.name, host.labels, host.output"
        else:
            return
        self.problem(path, message, hint, mention.field_offset)

    # Durations

    def duration(self, text: str | None, path: Path, default: Micros) -> Micros:
        """How long, or the default when it is not said or wrong."""
        if text is None:
            return default
        try:
            return parse_duration(text)
        except InvalidInput as error:
            self.problem(path, error.message, error.hint)
            return default

    def time_limit(self, text: str | None, path: Path, default: Micros, hint: str) -> Micros:
        """As `duration`, and more than 0; `hint` says what to do instead of writing 0."""
        length = self.duration(text, path, default)
        if length == 0:
            self.problem(path, f"a {path[-1]} of 0 leaves no time at all", hint)
        return length

    def optional_limit(self, text: str | None, path: Path, hint: str) -> Micros | None:
        """As `time_limit`, but None when it is not said."""
        return None if text is None else self.time_limit(text, path, 1, hint)


def _not_before(path: Path, steps: list[Step], mentioned: str) -> tuple[str, str]:
    """Message and hint for an expression that reads a step which may not have ended by then."""
    own = steps[int(path[1])].id
    if own == mentioned:
        return f"step '{own}' cannot read its own result before it has one", "only output and compensate can"
    message = f"step '{mentioned}' need not have ended before '{own}'"
    return message, f"add '{mentioned}' to the needs of '{own}'"


def on_all(step: Step) -> bool:
    """Whether the step is done on every host that matches."""
    return isinstance(step.target, Selector) and step.target.all


def near(word: str, known: Iterable[str]) -> str:
    """`did you mean 'fetch'?`, or nothing when nothing is near."""
    found = get_close_matches(word, list(known), 1)
    return f"did you mean '{found[0]}'?" if found else ""
