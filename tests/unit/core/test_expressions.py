"""Expressions: what compiles, what is refused and where, and that only JSON comes out."""

import json
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.expressions import Expression, ExpressionError, Fault
from schemas.workflow import MAX_EXPRESSION

pytestmark = pytest.mark.unit

SCOPE = frozenset({"event", "input", "steps", "run"})
DATA: dict[str, Any] = {
    "event": {
        "data": {"version": "v1", "count": 3, "half": 1.5, "list": [1, "a"], "yes": True, "none": None}
    },
    "input": {},
    "steps": {"fetch": {"status": "succeeded", "output": {"path": "/x"}, "attempts": 1, "error": None}},
    "run": {"id": "r1"},
}

ENDLESS = "true"
for name in "abcdefg":
    ENDLESS = f"[1,2,3,4,5,6,7,8,9].all({name}, {ENDLESS})"


def evaluate(source: str, data: dict[str, Any] | None = None) -> Any:
    """The value of `source` over `DATA`."""
    return Expression.compile(source, SCOPE).evaluate(DATA if data is None else data)


def faults(source: str, **more: Any) -> tuple[Fault, ...]:
    """What compiling `source` finds wrong."""
    with pytest.raises(ExpressionError) as caught:
        Expression.compile(source, SCOPE, **more)
    return caught.value.faults


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("event.data.version", "v1"),
        ('event["data"]["count"]', 3),
        ("event.data.count + 1", 4),
        ("event.data.half * 2.0", 3.0),
        ("event.data.list.map(x, string(dyn(x)))", ["1", "a"]),
        ("event.data", DATA["event"]["data"]),
        ("event.data.none", None),
        ("null", None),
        ("true", True),
        ('{"a": [1u, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("has(event.data.nope)", False),
        ('event.data.yes ? "a" : "b"', "a"),
        ("steps.fetch.output.path", "/x"),
        ('.steps["fetch"].status == "succeeded"', True),
        ('timestamp("2026-01-01T02:00:00+02:00")', "2026-01-01T00:00:00.000000Z"),
        ('timestamp("0001-01-01T00:00:00Z")', "0001-01-01T00:00:00.000000Z"),
        ('duration("90s")', "90s"),
        ('duration("1500ms")', "1500ms"),
        ('[duration("-1us")]', ["-1us"]),
        ("event.data.count // comment", 3),
    ],
)
def test_values(source: str, value: Any) -> None:
    """An expression gives plain JSON data; times and durations become text."""
    result = evaluate(source)
    assert result == value
    assert type(result) is type(value)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("event.data.nope", "no field 'nope'"),
        ("event.data.nope + 1", "no field 'nope'"),
        ("input.a.b", "no field 'a'"),
        ("event.data.count.x", "a number has no field 'x'"),
        ("event.data.count.x + 1", "a field is asked of what is not a map"),
        ("event.data.list[5]", "no element 5 in a list of 2"),
        ("event.data.count / 0", "divide by zero"),
        ('event.data.count + "x"', "'+' does not apply to int and string"),
        ("!event.data.count", "'!' does not apply to this value"),
        ('int("x")', "cannot convert string to int"),
        ("0.0 / 0.0", "gives nan, which JSON cannot hold"),
        ("[1.0 / 0.0]", "gives inf, which JSON cannot hold"),
        ('b"abc"', "gives bytes, which JSON cannot hold"),
        ("type(1)", "gives a type, which JSON cannot hold"),
        ("{1: 2}", "gives a map with the key 1, which is not text"),
        ("[{true: 1}]", "gives a map with the key True, which is not text"),
        ('int("9223372036854775807") + event.data.count', "integer overflow"),
        ('"a".matches("[")', "invalid regular expression: missing ]: ["),
        (ENDLESS, "it takes too many steps"),
    ],
)
def test_failed_evaluation(source: str, message: str) -> None:
    """A value that CEL calls an error never comes out as one: it raises, in one short line of plain words."""
    expression = Expression.compile(source, SCOPE)
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate(DATA)
    assert caught.value.message.startswith(f"{message} in: {source[:40]}")
    assert "\n" not in caught.value.message


def test_numbers_beyond_64_bits() -> None:
    """A huge integer in the data is passed on as it is, but cannot be calculated with."""
    data = {**DATA, "input": {"big": 2**70}}
    assert evaluate("input.big", data) == 2**70
    with pytest.raises(ExpressionError, match="beyond 64 bits"):
        evaluate("input.big + 1", data)


def test_data_that_is_no_text() -> None:
    """Whatever the library raises on odd data becomes an `ExpressionError`."""
    with pytest.raises(ExpressionError):
        evaluate('input.a == "x"', {**DATA, "input": {"a": "\ud800"}})


def test_text_is_not_cut_off() -> None:
    """A NUL does not make one field pass for another, nor one text: data with a NUL can only be passed on."""
    for value in ({"a\0b": 1}, {"a": "x\0y"}, {"a": [{"b": "\0"}]}):
        data = {**DATA, "input": value}
        assert evaluate("input", data) == value
        for source in ('"a" in input', "[input]"):
            with pytest.raises(ExpressionError, match="NUL"):
                evaluate(source, data)
    assert evaluate("has(input.a)", {**DATA, "input": {"a\0b": 1}}) is False
    with pytest.raises(ExpressionError, match="NUL"):
        evaluate("has(input.a)", {**DATA, "input": {"a": "x\0y"}})
    assert evaluate("input.a + input.a", {**DATA, "input": {"a": "\\u0000"}}) == "\\u0000\\u0000"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.a + input.a", "xx"),
        ('input["a"] + input.m.b', "xy"),
        ("has(input.m.b) && !has(input.m.c) && !has(input.none)", True),
        ("input.m == {'b': 'y', 'b2': 1} && input.m.b == 'y'", True),
        ("input.m.map(key, key).size() + input.m.size()", 4),
        ("input.l.map(input, input.a)[0] + input.a", "zx"),
        ("dyn(input).a + ''", "x"),
    ],
)
def test_it_gives_what_it_would_with_all_the_data(source: str, value: Any) -> None:
    """What an expression is given of its variables is enough, however it reads them."""
    given = {"a": "x", "m": {"b": "y", "b2": 1}, "l": [{"a": "z"}]}
    assert evaluate(source, {**DATA, "input": given}) == value


def test_what_it_does_not_read_costs_nothing() -> None:
    """Data behind other keys is not handed over: the library would refuse this number if it saw it."""
    data = {**DATA, "input": {"a": "x", "other": 2**70, "m": {"b": 1, "other": "\0"}}}
    assert evaluate("input.a + input.a", data) == "xx"
    assert evaluate("input.m.b + 1", data) == 2
    with pytest.raises(ExpressionError):
        evaluate("input.m.size()", data)


def test_depth_is_limited() -> None:
    """A value nested too deeply for a message is refused."""
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(ExpressionError, match="nested deeper than 60 levels"):
        evaluate("input.a", {**DATA, "input": {"a": deep}})
    with pytest.raises(ExpressionError, match="nested deeper than 60 levels"):
        evaluate("[input.a]", {**DATA, "input": {"a": deep}})


def test_missing_variables() -> None:
    """A variable that is None counts as an empty map; one that is not there is an error."""
    assert evaluate("has(event.data)", {"event": None}) is False
    for source in ("run.id", 'run.id + ""'):
        with pytest.raises(ExpressionError, match="there is no 'run' here"):
            evaluate(source, {})


@pytest.mark.parametrize(
    ("source", "offset", "message"),
    [
        ("nope.x", 0, "unknown name 'nope'; in scope here: event, input, run, steps"),
        ('"é😀" + nope', 7, "unknown name 'nope'; in scope here: event, input, run, steps"),
        ("1 +\n  nope", 6, "unknown name 'nope'; in scope here: event, input, run, steps"),
        ("[1].map(x, x + y)", 15, "unknown name 'y'; in scope here: event, input, run, steps"),
        ("1 + foo(2)", 4, "unknown function 'foo'"),
        ("event.foo(2)", 6, "unknown function 'foo'"),
        ('secret("x")', 0, "secret() has no place here"),
        ("item.x", 0, "'item' is known only in a step with foreach"),
        ("host.name", 0, "'host' is known only in a step whose target has 'all'"),
        ("1 +", 3, "syntax error: the expression ends too early"),
        ("", 0, "syntax error: the expression ends too early"),
        ("a b", 2, "syntax error: unexpected 'b'"),
        ('"abc', 0, "syntax error: unexpected '\"abc'"),
        ("if", 0, "'if' is a reserved word"),
        ('"a" + 1', 4, "'+' does not apply to string and int"),
        ('1 < "a"', 2, "'<' does not apply to int and string"),
        ("1 in 2", 2, "'in' does not apply to int and int"),
        ('-"a"', 0, "'-' does not apply to string"),
        ("event == 1", 6, "'==' does not apply to map and int"),
        ("input[1]", 5, "map cannot be indexed with int"),
        ("1 ? 2 : 3", 2, "the condition of ? : must be bool, not int"),
        ('true ? 1 : "a"', 5, "the two sides of : must be of one type, not int and string"),
        ("size(1)", 4, "size() does not take (int)"),
        ("has(input)", 4, "has() argument must be a field selection"),
        ("(" * 40 + "1" + ")" * 40, 0, "the expression is nested too deeply"),
        ("1" + " + 1" * 40, 0, "the expression is nested too deeply"),
        ("\ud800", 0, "the expression is not valid Unicode"),
        ("1" * (MAX_EXPRESSION + 1), 0, "the expression is longer than 2000 characters"),
    ],
)
def test_compile_faults(source: str, offset: int, message: str) -> None:
    """What does not compile is named in plain words, at the character concerned."""
    found = faults(source)[0]
    assert (found.message, found.offset) == (message, offset)


def test_every_unknown_name_is_listed() -> None:
    """The checker's findings are all reported, not just the first."""
    assert [fault.offset for fault in faults("foo + 1 + bar")] == [0, 10]


def test_step_with_a_dash() -> None:
    """`steps.a-b` is a subtraction; the hint says how to write it."""
    assert faults("steps.a-b.output")[0].hint == 'a step whose id has a - is written steps["a-b"]'


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("steps.a.output", {"a"}),
        ('steps["a-b"].output + steps.`c-d`.output', {"a-b", "c-d"}),
        ("[.steps.a, steps['b']].size() > 0", {"a", "b"}),
        ('"steps.x" + input.steps.y // steps.z', set()),
        ("r'\\d' + steps.a.status + '\\'steps.b'", {"a"}),
        ('"""\nsteps.x " """ + steps.y.status', {"y"}),
        ("has(steps.a.output) ? steps.a.output : 1", {"a"}),
        ("input.a[0].steps.b", set()),
        ("true in [steps.a == steps.b]", {"a", "b"}),
    ],
)
def test_references(source: str, references: set[str]) -> None:
    """The steps that are read are found in the text: not in strings, comments or fields called `steps`."""
    assert Expression.compile(source, SCOPE).references == references


@pytest.mark.parametrize(
    "source",
    ["steps", "size(steps)", "steps.size()", "steps[input.x]", "input.x in steps", 'steps["a" + "b"]'],
)
def test_steps_must_be_named(source: str) -> None:
    """Reading steps that are not named beforehand would be a race, and is refused."""
    assert faults(source)[0].message == "'steps' is used without a step's id"


def test_wanted() -> None:
    """What can be seen to give the wrong type is refused at once."""
    assert faults("1 + 1", wanted="bool")[0].message == "gives a number, not bool"
    assert faults("[1]", wanted="text")[0].message == "gives a list, not text"
    assert faults("null", wanted="text")[0].message == "gives null, not text"
    Expression.compile("event.data.yes", SCOPE, wanted="bool")


def test_nulls_without_end_do_not_wear_out_none() -> None:
    """The library returns references to None that it never took; a process has only so many of them."""
    expression = Expression.compile("[input.list]", SCOPE)
    before = sys.getrefcount(None)
    for _ in range(100):
        assert expression.evaluate({"input": {"list": [None, {"a": None}] * 50}})[0][:1] == [None]
    assert sys.getrefcount(None) > before - 1_000


def test_evaluate_bool_knows_no_truthiness() -> None:
    """Only true is true and only false is false: text, numbers and errors are errors."""
    assert Expression.compile("event.data.yes", SCOPE).evaluate_bool(DATA) is True
    assert Expression.compile("!event.data.yes", SCOPE).evaluate_bool(DATA) is False
    for source in ("event.data.version", "event.data.count", "event.data.list", "event.data.none", "event"):
        with pytest.raises(ExpressionError, match="not bool"):
            Expression.compile(source, SCOPE).evaluate_bool(DATA)
    with pytest.raises(ExpressionError, match="no field"):
        Expression.compile("event.data.nope == 1", SCOPE).evaluate_bool(DATA)


def test_evaluate_text() -> None:
    """A key is text or a whole number, and nothing else."""
    assert Expression.compile("event.data.version", SCOPE).evaluate_text(DATA) == "v1"
    assert Expression.compile("event.data.count", SCOPE).evaluate_text(DATA) == "3"
    for source in ("event.data.half", "event.data.yes", "event.data.none", "event.data"):
        with pytest.raises(ExpressionError, match="not text"):
            Expression.compile(source, SCOPE).evaluate_text(DATA)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_json)
def test_json_survives(value: Any) -> None:
    """JSON data goes through CEL and comes out as it was."""
    data = {"input": {"a": value}}
    try:
        passed, copied = evaluate("input.a", data), evaluate("[input.a][0]", data)
    except ExpressionError as error:
        assert "inf" in error.message or "NUL" in error.message  # noqa: PT017 - known not to go through
        return
    assert passed == value
    assert copied == value


@given(st.text(max_size=60) | st.text("steps.ab[]\"'`{}()+-?:/ \n\\&|!=<>0123r", max_size=60))
def test_any_text_compiles_or_says_why(source: str) -> None:
    """No text makes the compiler fail in another way; faults point into the text."""
    try:
        value = Expression.compile(source, SCOPE).evaluate(DATA)
    except ExpressionError as error:
        for fault in error.faults:
            assert fault.message
            assert 0 <= fault.offset <= len(source)
    else:
        assert not isinstance(value, float) or math.isfinite(value)
