"""CEL expressions. The one module that knows the CEL library and its types; `wording` knows its error texts.

Three things about the library shape this module. A failed evaluation does not raise: it returns a value whose
type is ERROR and which, taken for a plain value, is a truthy string; so the type is checked here, and only
here. And all that is handed over is converted, read or not, at each evaluation: so only what stands behind
the names and keys that an expression writes out is. A null that it gives lacks a reference: see `_checked`.

The library stops an evaluation after 10,000 iterations and bounds nothing else: see `costs`.
"""

import ctypes
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal, Self

from cel_expr_python import cel

from orchestrator.core.costs import MAX_EXPRESSION_COST, MAX_MEMORY, Cost, cost_of, memory_of
from orchestrator.core.lexing import Fault, Mention, Token, mentions, names, path_from, plain_path, tokens
from orchestrator.core.wording import HAS_HINT, compile_faults, one_line, runtime_fault
from schemas.codec import MAX_DEPTH, encode
from schemas.errors import InvalidInput
from schemas.workflow import MAX_EXPRESSION

__all__ = ["Expression", "ExpressionError", "Fault"]

_Reads = dict[str, "_Reads | None"]
"""What is read of a map, by key; None: all that stands there."""

Wanted = Literal["any", "bool", "text", "list"]

_ROOM: Final = MAX_DEPTH - 4
"""Deepest value an expression or a template may give: the message around it must stay within the limit."""

_WANTED_TYPES: Final[dict[Wanted, frozenset[str] | None]] = {
    "any": None,
    "bool": frozenset({"BOOL", "DYN"}),
    "text": frozenset({"STRING", "INT", "UINT", "DYN"}),
    "list": frozenset({"LIST", "DYN"}),
}
_ANY: Final = "item"
"""The one name in a scope that may stand for any value; the others are maps."""


class ExpressionError(InvalidInput):
    """An expression that cannot be compiled, or whose evaluation failed. Never worth a retry.

    `faults` lists everything that is wrong, with positions when it did not compile; the message is the first.
    """

    code = "expression_error"

    def __init__(self, *faults: Fault, code: str | None = None) -> None:
        super().__init__(faults[0].message, code=code, hint=faults[0].hint)
        self.faults = faults


class Expression:
    """A compiled CEL expression. Make one with `compile`."""

    __slots__ = ("_path", "_program", "_reads", "cost", "mentions", "references", "source")

    source: str
    mentions: tuple[Mention, ...]
    references: frozenset[str]
    """Ids of the steps it reads."""
    cost: Cost

    def __init__(self, source: str, program: Any, parts: list[Token], scope: frozenset[str]) -> None:
        self.source = source
        self.mentions = tuple(mentions(parts)) if "steps" in scope else ()
        self.references = frozenset(mention.step for mention in self.mentions if mention.step is not None)
        self._program = program
        variables = [part.offset for part in names(parts) if part.text in scope]
        self._reads = _tree(path_from(parts, i) for i, part in enumerate(parts) if part.offset in variables)
        self._path = plain_path(parts, scope)
        self.cost = cost_of(parts, scope)

    @classmethod
    def compile(cls, source: str, scope: frozenset[str], *, wanted: Wanted = "any") -> Self:
        """Compile `source`, which may use the variables in `scope`; raise `ExpressionError` with every fault.

        `wanted` refuses what can be seen, without evaluating it, to give something else. The keys of `steps`
        must be written out, so that it is known beforehand which steps are read.
        """
        if len(source) > MAX_EXPRESSION:
            message = f"the expression is longer than {MAX_EXPRESSION} characters"
            raise ExpressionError(Fault(message, "split it: give a step an output and use that"))
        try:
            program = _environment(scope).compile(source)
        except TypeError:
            raise ExpressionError(Fault("the expression is not valid Unicode")) from None
        except Exception as error:  # noqa: BLE001 - the library names no exception of its own
            raise ExpressionError(*compile_faults(str(error), source, scope)) from None
        kind = str(program.return_type().name())
        accepted = _WANTED_TYPES[wanted]
        if accepted is not None and kind.partition("<")[0] not in accepted:
            raise ExpressionError(Fault(f"gives {_type_name(kind)}, not {wanted}", _WANTED_HINTS[wanted]))
        expression = cls(source, program, tokens(source), scope)
        hint = 'write steps.<id> or steps["<id>"], so that it is known which step must come first'
        unnamed = [m.offset for m in expression.mentions if m.step is None]
        if unnamed:
            message = "'steps' is used without a step's id"
            raise ExpressionError(*(Fault(message, hint, offset) for offset in unnamed))
        if expression.cost.total > MAX_EXPRESSION_COST:
            message = f"the expression costs {expression.cost.total}, more than {MAX_EXPRESSION_COST}"
            raise ExpressionError(Fault(message, _COST_HINT))
        return expression

    def evaluate(self, scope: Mapping[str, Any], room: int = _ROOM) -> Any:
        """The value, as JSON data at most `room` levels deep; anything else is an `ExpressionError`.

        A timestamp becomes RFC 3339 text, a duration text such as `90s`. A variable that is None counts as
        an empty map.
        """
        try:
            if self._path is not None:
                return _plain(_follow(self._path, scope), room)
            return _plain(_checked(self._program.eval(data=self._variables(scope))), room)
        except _Unfit as unfit:
            raise self._error(unfit.message, unfit.hint, unfit.code) from None
        except Exception as error:  # noqa: BLE001 - see compile
            raise self._error(*runtime_fault(str(error))) from None

    def evaluate_bool(self, scope: Mapping[str, Any]) -> bool:
        """The value, which must be true or false: nothing else counts as either."""
        value = self.evaluate(scope)
        if not isinstance(value, bool):
            raise self._error(f"gives {_json_name(value)}, not bool", _WANTED_HINTS["bool"])
        return value

    def evaluate_text(self, scope: Mapping[str, Any]) -> str:
        """The value as text: a string, or a whole number written out."""
        value = self.evaluate(scope)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._error(f"gives {_json_name(value)}, not text", _WANTED_HINTS["text"])
        return str(value)

    def _variables(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """What the expression reads, and no more."""
        given = {
            name: _read(_variable(name, scope[name]), below)
            for name, below in self._reads.items()
            if name in scope
        }
        if rb"\u0000" in encode(given) and _has_nul(given):
            raise _Unfit("the data holds a NUL character, which expressions cannot work with")
        if (memory := memory_of(self.cost, given)) > MAX_MEMORY:
            message = f"it could take {memory >> 20} MiB with this data, more than {MAX_MEMORY >> 20}"
            raise _Unfit(message, "give it less: fewer items, shorter texts", code="expression_too_costly")
        return given

    def _error(self, message: str, hint: str, code: str | None = None) -> ExpressionError:
        said = one_line(f"{message} in: {one_line(self.source, 100)}")
        return ExpressionError(Fault(said, hint), code=code)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"


_COST_HINT: Final = "each '+' and ',' in a map, filter, all or exists counts: let steps give parts of it"
_WANTED_HINTS: Final[dict[Wanted, str]] = {
    "any": "",
    "bool": "compare with something: event.data.count > 3",
    "text": "turn it into text: string(event.data.order)",
    "list": "give it a list: input.hosts",
}


class _Unfit(Exception):
    """A value that is not what is needed."""

    def __init__(self, message: str, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


@cache
def _environment(scope: frozenset[str]) -> Any:
    """The CEL environment in which the names in `scope` are maps from text to anything, `item` anything."""
    kind = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    return cel.NewEnv(variables={name: cel.Type.DYN if name == _ANY else kind for name in sorted(scope)})


def _variable(name: str, value: Any) -> Any:
    """What is handed over for a name: of a map that is None, an empty one."""
    return {} if value is None and name != _ANY else value


def _tree(paths: Iterable[tuple[str, ...]]) -> _Reads:
    """The paths as nested maps; of one that goes on from another the shorter is enough."""
    tree: _Reads = {}
    for path in sorted(paths, key=len):
        node: _Reads | None = tree
        for key in path[:-1]:
            node = None if node is None else node.setdefault(key, {})
        if node is not None:
            node[path[-1]] = None
    return tree


def _read(value: Any, keys: "_Reads | None") -> Any:
    """Of a map what stands at these keys, as far as it is there; all of anything else."""
    if keys is None or not isinstance(value, dict):
        return value
    return {key: _read(value[key], below) for key, below in keys.items() if key in value}


def _has_nul(value: Any) -> bool:
    """Whether some text in `value` holds a NUL: the library would cut it off there, and find other words."""
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(_has_nul(item) for item in value)
    return isinstance(value, str) and "\0" in value


def _checked(value: Any) -> Any:
    """The plain value of what the library gave; `_Unfit` when that is an error."""
    plain = value.plain_value()
    if value.type().name() in ("ERROR", "UNKNOWN"):
        raise _Unfit(*runtime_fault(str(plain)))
    # The library takes no reference to a null that it gives, and one is returned for each when the value is
    # let go. Before Python 3.12, which keeps None for ever, that ends the process after some 10,000 nulls.
    for _ in range(_nulls(plain)):
        _TAKE_REFERENCE(None)
    return plain


def _nulls(value: Any) -> int:
    """How many nulls there are in what the library gave."""
    if isinstance(value, dict):
        return sum(map(_nulls, value.values()))
    if isinstance(value, list):
        return sum(map(_nulls, value))
    return value is None


_TAKE_REFERENCE: Final = ctypes.pythonapi.Py_IncRef
_TAKE_REFERENCE.argtypes, _TAKE_REFERENCE.restype = [ctypes.py_object], None


def _follow(path: tuple[str, ...], scope: Mapping[str, Any]) -> Any:
    """What CEL gives for `a.b.c`, without copying everything around it."""
    if path[0] not in scope:
        raise _Unfit(f"there is no '{path[0]}' here")
    value = _variable(path[0], scope[path[0]])
    for key in path[1:]:
        if not isinstance(value, dict):
            raise _Unfit(f"{_json_name(value)} has no field '{key}'")
        if key not in value:
            raise _Unfit(f"no field '{key}'", HAS_HINT)
        value = value[key]
    return value


# Values


def _plain(value: Any, room: int) -> Any:
    """`value` as JSON data; `_Unfit` when there is no such JSON or it is nested deeper than `room`."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if not isinstance(value, list | dict):
        return _plain_scalar(value)
    if room == 0:
        raise _Unfit(f"gives a value nested deeper than {_ROOM} levels", "pass on only what is needed")
    if isinstance(value, list):
        return [_plain(item, room - 1) for item in value]
    for key in value:
        if not isinstance(key, str):
            raise _Unfit(f"gives a map with the key {key}, which is not text", 'write {"1": …}')
    return {key: _plain(item, room - 1) for key, item in value.items()}


def _plain_scalar(value: Any) -> Any:
    """As `_plain`, for the values that JSON knows in no other form."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Unfit(f"gives {value}, which JSON cannot hold")
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return _duration_text(value)
    if isinstance(value, bytes | bytearray):
        raise _Unfit("gives bytes, which JSON cannot hold", "base64 text travels better")
    raise _Unfit(f"gives a {type(value).__name__.lower()}, which JSON cannot hold")


def _duration_text(length: timedelta) -> str:
    """The duration in the coarsest of s, ms and us that is exact; CEL reads it back."""
    micros = length // timedelta(microseconds=1)
    for unit, size in (("s", 1_000_000), ("ms", 1_000)):
        if micros % size == 0:
            return f"{micros // size}{unit}"
    return f"{micros}us"


def _json_name(value: Any) -> str:
    """What JSON calls the type of `value`."""
    if isinstance(value, bool):
        return "bool"
    for kind, name in ((str, "text"), (int | float, "a number"), (list, "a list"), (dict, "a map")):
        if isinstance(value, kind):
            return name
    return "null"


def _type_name(kind: str) -> str:
    """What a document calls the CEL type `kind`."""
    known = {"INT": "a number", "UINT": "a number", "DOUBLE": "a number", "STRING": "text", "BOOL": "bool"}
    if kind in known:
        return known[kind]
    return f"a {kind.partition('<')[0].lower()}" if kind != "NULL" else "null"
