"""How actions are written: `Agent`, its decorator, and the error an action raises.

An action is a function whose first parameter is the `Context` and whose others are its arguments. Their
types are checked before it runs; an unknown, missing or ill-typed argument is never seen by the function.
"""

import copy
import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self

import msgspec

from schemas.errors import BatonError, InvalidInput
from schemas.messages import ActionInfo, CommandKind

__all__ = ["Action", "ActionError", "Agent", "BadArguments", "Body", "Probed", "TimedOut"]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,126}")
_FIELD: Final = re.compile(r"(?:field `|at `\$\.?)([A-Za-z0-9_]+)")


class ActionError(BatonError):
    """What an action raises to fail: `code` for machines, `message` for people.

    `retryable=False` says that another attempt would fail the same way (rule 2). `details` is any JSON value.
    """

    def __init__(self, code: str, message: str = "", *, retryable: bool = True, details: Any = None) -> None:
        super().__init__(message or code, code=code, details=details)
        self.retryable = retryable


class TimedOut(ActionError):
    """A limit that the action itself keeps was reached and its work stopped: the result is `timed_out`."""


class BadArguments(ActionError):
    """The arguments do not fit; `details.field` names the first that does not."""

    def __init__(self, message: str) -> None:
        found = _FIELD.search(message)
        details = {"field": found[1]} if found else None
        super().__init__("bad_arguments", message, retryable=False, details=details)


class Probed(msgspec.Struct, frozen=True):
    """What a probe found out about an attempt that was lost after it had started (rule 7)."""

    said: Literal["done", "never", "unknown"]
    output: Any = None
    why: str = ""

    @classmethod
    def done(cls, output: Any = None) -> Self:
        """It took effect; `output` is what the action would have returned."""
        return cls("done", output)

    @classmethod
    def never(cls) -> Self:
        """It had no effect and will have none: to do it now would be the first time."""
        return cls("never")

    @classmethod
    def unknown(cls, why: str = "") -> Self:
        """It cannot be told, at least not now; asked again, the probe runs again."""
        return cls("unknown", None, why)


class Body:
    """A function with the shape of its arguments: the thing that is called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.shape = _shape_of(function)

    def check(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Give `args` as the function's keyword arguments, or raise `BadArguments`."""
        if self.shape is None:
            return dict(args)
        try:
            checked = msgspec.convert(args, self.shape)
        except (msgspec.ValidationError, RecursionError) as error:
            raise BadArguments(str(error)) from None
        return {name: getattr(checked, name) for name in self.shape.__struct_fields__}

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments; references stay inside it."""
        if self.shape is None:
            return {"type": "object"}
        (_,), components = msgspec.json.schema_components([self.shape], ref_template="#/$defs/{name}")
        schema: dict[str, Any] = components.pop(self.shape.__name__)
        schema.pop("title", None)
        if components:
            schema["$defs"] = components
        return schema


class Action:
    """One action: what runs, what undoes it, what probes. Calling it calls the function: tests can."""

    def __init__(
        self, name: str, body: Body, *, idempotent: bool | Callable[..., bool] = False, description: str = ""
    ) -> None:
        self.name = name
        self.body = body
        self.undo: Body | None = None
        self.prober: Body | None = None
        self.idempotent = idempotent
        self.description = description

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, unchecked."""
        return self.body.function(*args, **kwargs)

    def compensate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: `function` (its arguments are its own) runs when a `compensate` names this action."""
        self.undo = Body(function)
        return function

    def probe(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: `function` finds out whether a lost attempt took effect, and returns a `Probed`.

        It is called with the action's arguments, after a crash of the agent, for an attempt that was running
        then and is not idempotent; and again whenever somebody asks while nobody knows.
        """
        _check_takes_the_same(function, self.body)
        self.prober = Body(function)
        return function

    def body_for(self, kind: CommandKind) -> Body:
        """What a command of `kind` runs: the undo for `compensate` where there is one, else the action."""
        return self.undo if kind is CommandKind.COMPENSATE and self.undo is not None else self.body

    def probe_for(self, kind: CommandKind) -> Body | None:
        """The probe of what a command of `kind` runs. An undo that is a function of its own has none."""
        return self.prober if self.body_for(kind) is self.body else None

    def is_idempotent(self, arguments: Mapping[str, Any], kind: CommandKind = CommandKind.EXECUTE) -> bool:
        """Whether running it twice with these (checked) arguments is as good as once.

        A function of the action's arguments says nothing of an undo that has its own.
        """
        if callable(self.idempotent):
            return self.body_for(kind) is self.body and self.idempotent(**arguments)
        return self.idempotent

    def info(self) -> ActionInfo:
        """What the agent announces about it."""
        return ActionInfo(
            name=self.name,
            idempotent=self.idempotent is True,
            description=self.description,
            args=self.body.json_schema(),
            undo=None if self.undo is None else self.undo.json_schema(),
            probe=self.prober is not None,
        )


class Agent:
    """A set of actions. A module given to `baton-agent --module` holds one."""

    def __init__(self) -> None:
        self.actions: dict[str, Action] = {}

    def action(
        self,
        name: str,
        *,
        idempotent: bool | Callable[..., bool] = False,
        compensate: Callable[..., Any] | None = None,
        probe: Callable[..., Any] | None = None,
    ) -> Callable[[Callable[..., Any]], Action]:
        """Decorator that makes a function an action.

        `idempotent`: after a crash it is simply run again; otherwise its outcome is reported as unknown. A
        function of the arguments may decide. `compensate`: what undoes it, if that is no action of its own.
        `probe`: what finds out whether a lost attempt took effect; see `Action.probe`.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"'{name}' is not an action name", code="bad_name", hint="letters, digits, '.', '_' and '-'"
            )

        def register(function: Callable[..., Any]) -> Action:
            if name in self.actions:
                raise InvalidInput(f"action '{name}' is defined twice", code="duplicate_action")
            description = (inspect.getdoc(function) or "").partition("\n\n")[0]
            action = Action(name, Body(function), idempotent=idempotent, description=description)
            if compensate is not None:
                action.compensate(compensate)
            if probe is not None:
                action.probe(probe)
            self.actions[name] = action
            return action

        return register


def _check_takes_the_same(function: Callable[..., Any], body: Body) -> None:
    """Refuse a probe that could not be called with the action's arguments."""
    fields = None if body.shape is None else body.shape.__struct_fields__
    parameters = inspect.signature(function)
    takes_anything = any(each.kind is each.VAR_KEYWORD for each in parameters.parameters.values())
    try:
        parameters.bind(None, **dict.fromkeys(fields or ()))
        fits = takes_anything or fields is not None
    except TypeError:
        fits = False
    if not fits:
        name = getattr(function, "__qualname__", "probe")
        raise InvalidInput(
            f"{name} does not take what the action takes",
            code="bad_action",
            hint="give a probe the action's own parameters, or (ctx, **args)",
        )


def _shape_of(function: Callable[..., Any]) -> type[msgspec.Struct] | None:
    """A struct with a field for each argument after the context; None for one that takes `**anything`."""
    parameters = list(inspect.signature(function).parameters.values())
    name = getattr(function, "__qualname__", "action")
    if not parameters:
        raise InvalidInput(
            f"{name} takes no context",
            code="bad_action",
            hint="write async def f(ctx, ...): the first is the Context",
        )
    hints = typing.get_type_hints(function, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for parameter in parameters[1:]:
        if parameter.kind is parameter.VAR_KEYWORD and not fields:
            return None
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidInput(
                f"{name} takes '{parameter}'",
                code="bad_action",
                hint="give every argument of an action a name",
            )
        default = parameter.default
        if default is parameter.empty:
            default = msgspec.NODEFAULT
        elif (
            default.__class__.__hash__ is None
        ):  # a list, a dict: msgspec wants a factory, not the thing itself
            default = msgspec.field(default_factory=functools.partial(copy.copy, default))
        fields.append((parameter.name, hints.get(parameter.name, Any), default))
    shape = msgspec.defstruct(
        re.sub(r"\W", "_", name), fields, kw_only=True, frozen=True, forbid_unknown_fields=True
    )
    try:
        msgspec.json.schema(shape)  # the agent announces it
    except TypeError as error:
        raise InvalidInput(
            f"{name} takes an argument that JSON has no type for: {error}",
            code="bad_action",
            hint="use types such as str, int, list[str], dict[str, Any] or a msgspec.Struct",
        ) from None
    return shape
