"""What the CEL library says of an expression, in words for whoever wrote it."""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

from orchestrator.core.lexing import Fault

__all__ = ["HAS_HINT", "compile_faults", "one_line", "runtime_fault"]

HAS_HINT: Final = "has(…) asks whether a field is there"

_MAX_MESSAGE: Final = 300
_ELSEWHERE: Final = {
    "item": ("'item' is known only in a step with foreach", "not in its own 'if' and 'foreach'"),
    "host": ("'host' is known only in a step whose target has 'all'", "in with, output and compensate"),
    "failure": ("'failure' is known only in compensate", "it tells why the run goes back"),
}
_ONLY_IN_WITH: Final = (
    '${{ secret("name") }}, alone or inside text, goes into the with of an action or of a compensate'
)
_COMPILE_ERROR: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_SYNTAX: Final = re.compile(
    r"(?:mismatched input|extraneous input|no viable alternative at input|error at:) '(.*?)'(?: expecting|$)"
)
_OPERATOR: Final = re.compile(r"@?_?(\W{1,2}|in)_?")
_DEEP: Final = re.compile(r"recursion (?:limit|depth)")


def compile_faults(text: str, source: str, scope: frozenset[str]) -> list[Fault]:
    """The faults in what the library says about `source`; the first one only when it is a syntax error."""
    if _DEEP.search(text):
        return [Fault("the expression is nested too deeply", "split it: give a step an output and use that")]
    lines = source.split("\n")
    faults = []
    for row, column, said in _COMPILE_ERROR.findall(text):
        line = max(int(row), 1) - 1
        offset = sum(len(before) + 1 for before in lines[:line]) + max(int(column), 1) - 1
        message = said.removesuffix(" [INVALID_ARGUMENT]")
        if message.startswith(("Syntax error", "reserved")):
            return [Fault(_syntax_message(message), offset=min(offset, len(source)))]
        faults.append(_check_fault(message, offset, source, scope))
    return faults or [Fault(one_line(_without_code(text)))]


def _syntax_message(message: str) -> str:
    """A syntax error in few words."""
    if message.startswith("reserved"):
        return f"'{message.rpartition(' ')[2]}' is a reserved word"
    at = _SYNTAX.search(message)
    if at is None:
        return one_line(message)
    if at[1] == "<EOF>":
        return "syntax error: the expression ends too early"
    return one_line(f"syntax error: unexpected '{at[1]}'")


def _check_fault(message: str, offset: int, source: str, scope: frozenset[str]) -> Fault:
    """A fault that the type checker found."""
    unknown = re.match(r"undeclared reference to '([^']*)'", message)
    if unknown is not None:
        return _unknown_name(unknown[1], offset, source, scope)
    overload = re.match(r"found no matching overload for '([^']*)' applied to '\((.*)\)'", message)
    if overload is not None:
        return Fault(_overload_message(overload[1], overload[2]), offset=offset)
    return Fault(one_line(message), offset=offset)


def _unknown_name(name: str, offset: int, source: str, scope: frozenset[str]) -> Fault:
    """A name that nothing stands for. The library points behind it; the fault points at it."""
    root = name.partition(".")[0]
    if source[offset : offset + 1] in (".", "("):
        is_function = source[offset] == "("
        offset = max(source.rfind(root, 0, offset), 0)
    else:
        is_function = False
    if root == "secret":
        return Fault("secret() has no place here", _ONLY_IN_WITH, offset)
    if root in _ELSEWHERE:
        return Fault(*_ELSEWHERE[root], offset)
    if is_function:
        return Fault(f"unknown function '{root}'", offset=offset)
    step = re.search(r"\bsteps\.([A-Za-z][\w-]*-)$", source[:offset], re.ASCII)
    if step is not None:
        whole = step[1] + root
        return Fault(f"unknown name '{root}'", f'a step whose id has a - is written steps["{whole}"]', offset)
    return Fault(f"unknown name '{root}'; in scope here: {', '.join(sorted(scope))}", offset=offset)


def _overload_message(function: str, types: str) -> str:
    """An operator or function used on what it does not take."""
    types = re.sub(r"map\([^()]*\)", "map", types).replace("int64", "int")
    kinds = types.split(", ")
    if function == "_?_:_" and len(kinds) == 3:  # noqa: PLR2004 - condition, then, else
        if kinds[0] not in ("bool", "dyn"):
            return f"the condition of ? : must be bool, not {kinds[0]}"
        return f"the two sides of : must be of one type, not {kinds[1]} and {kinds[2]}"
    if function == "_[_]" and len(kinds) == 2:  # noqa: PLR2004 - container, index
        return f"{kinds[0]} cannot be indexed with {kinds[1]}"
    operator = _OPERATOR.fullmatch(function)
    if operator is not None:
        return f"'{operator[1]}' does not apply to {' and '.join(kinds)}"
    return f"{function}() does not take ({types})"


_RUNTIME: Final[tuple[tuple[str, Callable[..., str], str], ...]] = (
    (r'Key not found in map : "(.*)"', "no field '{}'".format, HAS_HINT),
    (r"Key not found in map : (.*)", "no field {}".format, HAS_HINT),
    (r"No matching overloads found : (\S+?)\((.*)\)", _overload_message, ""),
    (r"No matching overloads found : (\S+)", partial(_overload_message, types="this value"), ""),
    (r'No value with name "(.*)" found.*', "there is no '{}' here".format, ""),
    (r"Index error: index=(.*) size=(.*)", "no element {} in a list of {}".format, ""),
    (r"Index error: expected integer type, got (.*)", "a list is indexed with {}".format, ""),
    (r"Applying SELECT.*", "a field is asked of what is not a map".format, ""),
    (r"Unexpected value type for '(\w+)'.*", "'{}' is not a map here".format, ""),
    (r"Integer value '.*' out of range.*", "a whole number beyond 64 bits".format, "send it as text"),
    (r"Iteration budget exceeded", "it takes too many steps".format, "loop over less"),
)


def runtime_fault(text: str) -> tuple[str, str]:
    """Message and hint for what the library says about a failed evaluation."""
    message = _without_code(text)
    for pattern, wording, hint in _RUNTIME:
        match = re.fullmatch(pattern, message, re.DOTALL)
        if match is not None:
            return one_line(wording(*match.groups())), hint
    return one_line(message), ""


def _without_code(text: str) -> str:
    """`divide by zero` for `INVALID_ARGUMENT: divide by zero [INVALID_ARGUMENT]`."""
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", text)


def one_line(text: str, limit: int = _MAX_MESSAGE) -> str:
    """`text` on one line, cut to `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
