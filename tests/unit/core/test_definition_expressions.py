"""What expressions in a document may read, each in its place."""

from typing import Any

import pytest

from tests.support.definitions import compile_, problem, problems, step

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("more", "path", "message"),
    [
        ({"if_": "failure.code"}, ("if",), "'failure' is known only in compensate"),
        ({"if_": "1 +"}, ("if",), "syntax error: the expression ends too early"),
        ({"if_": "1 + 1"}, ("if",), "gives a number, not bool"),
        ({"if_": "steps.a.status == 'x'"}, ("if",), "step 'a' cannot read its own result before it has one"),
        (
            {"with_": {"x": "${{ steps.a.output }}"}},
            ("with", "x"),
            "step 'a' cannot read its own result before it has one",
        ),
        (
            {"with_": {"x": ["${{ secret('k') + '!' }}"]}},
            ("with", "x", 0),
            "secret() has no place here",
        ),
        (
            {"with_": {"x": "a ${{ secret('../k') }}"}},
            ("with", "x"),
            "'../k' is not a valid name of a secret",
        ),
        ({"output": "${{ secret('k') }}"}, ("output",), "secret() has no place here"),
        ({"target": "${{ secret('k') }}"}, ("target",), "secret() has no place here"),
        ({"if_": "secret('k') == 'x'"}, ("if",), "secret() has no place here"),
        ({"with_": {"x": "${{ steps.z.output }}"}}, ("with", "x"), "unknown step 'z'"),
        (
            {"target": "${{ nope }}"},
            ("target",),
            "unknown name 'nope'; in scope here: event, input, run, steps",
        ),
        (
            {"target": {"pool": "${{ 1 + }}"}},
            ("target", "pool"),
            "syntax error: the expression ends too early",
        ),
        (
            {"output": "${{ failure.code }}"},
            ("output",),
            "'failure' is known only in compensate",
        ),
        (
            {"output": "${{ steps.a.ouput.x }}"},
            ("output",),
            "a step has no 'ouput', only status, output, attempts, error, hosts",
        ),
        (
            {"compensate": {"action": "u", "with": {"x": "${{ steps.b.output }}"}}},
            ("compensate", "with", "x"),
            "step 'b' need not have ended before 'a'",
        ),
        (
            {"compensate": {"action": "u", "target": "${{ item }}"}},
            ("compensate", "target"),
            "'item' is known only in a step with foreach",
        ),
    ],
)
def test_bad_expressions_in_steps(more: dict[str, Any], path: tuple[str | int, ...], message: str) -> None:
    """Each place knows its own names, and reads only what has surely ended by then."""
    found = problem(step("a", **more), step("b"))
    assert found[:2] == (("steps", 0, *path), message)


def test_good_expressions() -> None:
    """What each place may read."""
    compile_(
        step("a"),
        step(
            "b",
            if_="steps.a.status == 'succeeded' && event.data.x && input.y && run.id != ''",
            with_={"x": "${{ steps.a.output.path }}"},
            target="web-${{ input.n }}",
            output={"y": "${{ steps.b.output.z }}", "n": "${{ steps.a.attempts }}"},
            compensate={
                "action": "u",
                "with": {"p": "${{ steps.b.output.y }}", "why": "${{ failure.code }}"},
                "target": "${{ steps.a.output.host }}",
            },
        ),
        triggers=[
            {"event": "e.*", "if": "event.data.ok", "key": "event.id", "input": {"v": "${{ event.data }}"}}
        ],
        output={"z": "${{ steps.a.output }} ${{ steps['b'].error.code }}"},
    )


def test_race_between_branches() -> None:
    """Reading a step that may still be running is refused, with the way out."""
    path, message, hint = problem(
        step("a"), step("b", needs=[]), step("c", needs=["b"], with_={"x": "v ${{ steps.a.output }}"})
    )
    assert path == ("steps", 2, "with", "x")
    assert message == "step 'a' need not have ended before 'c'"
    assert hint == "add 'a' to the needs of 'c'"


def test_offsets_count_into_the_text() -> None:
    """A problem in an expression points at the character, counted from the start of the string."""
    found = problems(step("a", with_={"x": "é ${{ 1 }} ${{ steps.nope.output + foo }}"}))
    assert [(p.offset, p.message[:12]) for p in found] == [(35, "unknown name")]
    assert problems(step("a", if_="true && steps.nope.status == 'x'"))[0].offset == 8
    assert problems(step("a", output="${{ steps.a.statu }}"))[0].offset == 12


@pytest.mark.parametrize(
    ("trigger", "field", "message"),
    [
        ({"if": "input.x"}, "if", "unknown name 'input'; in scope here: event"),
        ({"if": "'x'"}, "if", "gives text, not bool"),
        ({"key": "[1]"}, "key", "gives a list, not text"),
        ({"key": "event"}, "key", "gives a map, not text"),
    ],
)
def test_bad_triggers(trigger: dict[str, Any], field: str, message: str) -> None:
    """A trigger sees the event only."""
    found = problem(step("a"), triggers=[{"event": "e"}, {"event": "f", **trigger}])
    assert found[:2] == (("triggers", 1, field), message)


def test_trigger_patterns() -> None:
    """A `*` at the end matches any suffix; without it the type must be the same."""
    some, one, every = compile_(step("a"), triggers=[{"event": e} for e in ("a.b*", "a.b", "*")]).triggers
    assert [some.matches(t) for t in ("a.b", "a.bc.d", "a", "x.a.b")] == [True, True, False, False]
    assert [one.matches(t) for t in ("a.b", "a.bc")] == [True, False]
    assert every.matches("anything")


def test_everything_at_once() -> None:
    """All problems of a document come in one go."""
    found = problems(
        step("a", if_="1 +", timeout="0s"),
        step("b", needs=["x"], with_={"p": "${{ nope }}", "q": "${{ 1 + }}"}),
        triggers=[{"event": "e", "key": "foo"}],
        input={"type": "objekt"},
        output="${{ steps.c.output }}",
    )
    assert {p.path for p in found} == {
        ("steps", 0, "if"),
        ("steps", 0, "timeout"),
        ("steps", 1, "needs", 0),
        ("steps", 1, "with", "p"),
        ("steps", 1, "with", "q"),
        ("triggers", 0, "key"),
        ("input", "type"),
        ("output",),
    }
