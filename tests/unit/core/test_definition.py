"""Compiling a document: defaults, order, scopes, and every problem with its path."""

import time
from typing import Any

import msgspec
import pytest

from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import Definition, InvalidDefinition, Problem, RetryPolicy
from schemas.workflow import Workflow

pytestmark = pytest.mark.unit

SECOND = 1_000_000


def step(name: str, **more: Any) -> dict[str, Any]:
    """A step with the least it must have; `if_` and `with_` stand for `if` and `with`."""
    return {"id": name, "action": "x.y", "target": "h", **{key.rstrip("_"): more[key] for key in more}}


def compile_(*steps: dict[str, Any], **more: Any) -> Definition:
    """The definition of a document with these steps."""
    document = {"workflow": "w", "steps": list(steps), **more}
    return compile_definition(msgspec.convert(document, Workflow))


def problems(*steps: dict[str, Any], **more: Any) -> list[Problem]:
    """What is wrong with such a document."""
    with pytest.raises(InvalidDefinition) as caught:
        compile_(*steps, **more)
    assert caught.value.code == "invalid_workflow"
    return caught.value.problems


def problem(*steps: dict[str, Any], **more: Any) -> tuple[tuple[str | int, ...], str, str]:
    """The one thing wrong with such a document: path, message, hint."""
    (one,) = problems(*steps, **more)
    return one.path, one.message, one.hint


# The order of the steps


def test_needs_default_to_the_step_above() -> None:
    """A step without `needs` waits for the one written just above; `needs: []` waits for none."""
    steps = compile_(step("a"), step("b"), step("c", needs=[]), step("d", needs=["b", "c", "b"])).steps
    assert list(steps) == ["a", "b", "c", "d"]
    assert [s.needs for s in steps.values()] == [(), ("a",), (), ("b", "c")]
    assert [s.index for s in steps.values()] == [0, 1, 2, 3]


def test_order_reaches_all_the_way() -> None:
    """`upstream` and `dependents` hold everything before and after, not just the neighbours."""
    steps = compile_(step("a"), step("b"), step("c", needs=["a"]), step("d", needs=["b", "c"])).steps
    assert steps["d"].upstream == {"a", "b", "c"}
    assert steps["a"].dependents == {"b", "c", "d"}
    assert steps["c"].upstream == {"a"}
    assert steps["c"].dependents == {"d"}


def test_needs_may_point_down() -> None:
    """The list's order does not bind where `needs` says otherwise."""
    steps = compile_(step("late", needs=["early"]), step("early", needs=[])).steps
    assert steps["late"].upstream == {"early"}


def test_wrong_needs() -> None:
    """Unknown steps, the step itself and a second step of the same id are all reported."""
    found = problems(step("fetch"), step("b", needs=["fetsh", "b", "zz"]), step("b", needs=[]))
    assert [(p.path, p.message, p.hint) for p in found] == [
        (("steps", 2, "id"), "a second step with the id 'b'", "ids must differ"),
        (("steps", 1, "needs", 0), "unknown step 'fetsh'", "did you mean 'fetch'?"),
        (("steps", 1, "needs", 1), "step 'b' needs itself", ""),
        (("steps", 1, "needs", 2), "unknown step 'zz'", ""),
    ]


def test_circle() -> None:
    """Steps that need each other are named in order; other problems are still found."""
    found = problems(step("a", needs=["c"]), step("b"), step("c"), step("d", timeout="0s"))
    assert [(p.path, p.message) for p in found] == [
        (("steps", 0, "needs"), "steps need each other in a circle: a -> c -> b -> a"),
        (("steps", 3, "timeout"), "a timeout of 0 leaves no time at all"),
    ]


def test_two_circles() -> None:
    """Each circle is named."""
    found = problems(step("a", needs=["b"]), step("b"), step("c", needs=["d"]), step("d"))
    assert [p.message.rpartition(": ")[2] for p in found] == ["a -> b -> a", "c -> d -> c"]


# Defaults and limits


def test_defaults() -> None:
    """Attempts: 3 when idempotent, else 1; undos 10 with longer waits; 10 minutes for each attempt."""
    steps = compile_(
        step("a", idempotent=True, compensate={"action": "u"}), step("b", output={"x": 1}, if_="true")
    ).steps
    a, b = steps["a"], steps["b"]
    assert a.retry == RetryPolicy(attempts=3, delay=SECOND, backoff=2.0, max_delay=30 * SECOND)
    assert b.retry == RetryPolicy(attempts=1, delay=SECOND, backoff=2.0, max_delay=30 * SECOND)
    assert a.timeout == b.timeout == 600 * SECOND
    assert (a.condition, a.output, b.compensate) == (None, None, None)
    assert a.compensate is not None
    assert a.compensate.retry == RetryPolicy(10, 2 * SECOND, 2.0, 300 * SECOND)
    assert a.compensate.timeout == 600 * SECOND
    assert a.compensate.target is None
    assert a.compensate.after_failure is False
    assert b.output is not None
    assert b.output.render({}) == {"x": 1}
    assert b.condition is not None
    assert (a.target.kind, a.target.name.render_text({})) == ("agent", "h")


def test_output_null_is_an_output() -> None:
    """`output: null` sets the output to null; leaving it out keeps what the action gave."""
    template = compile_(step("a", output=None)).steps["a"].output
    assert template is not None
    assert template.render({}) is None


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ({"attempts": 5}, RetryPolicy(5, SECOND, 2.0, 30 * SECOND)),
        ({"delay": "1m"}, RetryPolicy(1, 60 * SECOND, 2.0, 60 * SECOND)),
        ({"max_delay": "500ms"}, RetryPolicy(1, SECOND // 2, 2.0, SECOND // 2)),
        ({"delay": "0s", "backoff": 1}, RetryPolicy(1, 0, 1.0, 30 * SECOND)),
    ],
)
def test_retry_fields(retry: dict[str, Any], expected: RetryPolicy) -> None:
    """A field that is not set takes its default, or gives way to the delay that is."""
    assert compile_(step("a", retry=retry)).steps["a"].retry == expected


def test_delays_grow_and_stay_within_the_limit() -> None:
    """Each wait is `backoff` times longer, spread by a fifth either way, and never beyond `max_delay`."""
    retry = RetryPolicy(attempts=9, delay=SECOND, backoff=2.0, max_delay=5 * SECOND)
    assert [retry.delay_before(n, 0.5) for n in (1, 2, 3, 4)] == [SECOND, 2 * SECOND, 4 * SECOND, 5 * SECOND]
    assert retry.delay_before(1, 0.0) == 800_000
    assert SECOND < retry.delay_before(1, 0.999) <= 1_200_000
    assert retry.delay_before(4, 0.999) == 5 * SECOND
    assert RetryPolicy(1000, SECOND, 100.0, 7).delay_before(1000, 0.5) == 7
    assert RetryPolicy(9, 0, 2.0, SECOND).delay_before(3, 0.9) == 0


@pytest.mark.parametrize(
    ("more", "path", "message"),
    [
        ({"timeout": "0ms"}, ("timeout",), "a timeout of 0 leaves no time at all"),
        ({"timeout": "367d"}, ("timeout",), "'367d' is longer than 366 days"),
        ({"retry": {"delay": "999999d"}}, ("retry", "delay"), "'999999d' is longer than 366 days"),
        (
            {"retry": {"delay": "2s", "max_delay": "1s"}},
            ("retry", "max_delay"),
            "max_delay is shorter than delay",
        ),
        (
            {"compensate": {"action": "u", "timeout": "0s"}},
            ("compensate", "timeout"),
            "a timeout of 0 leaves no time at all",
        ),
        ({"target": "a b"}, ("target",), "'a b' is not a valid agent name"),
        ({"target": {"pool": "-x"}}, ("target", "pool"), "'-x' is not a valid pool name"),
    ],
)
def test_bad_values(more: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    """Durations and names that the shape allows but that make no sense."""
    found = problem(step("a", **more))
    assert found[:2] == (("steps", 0, *path), message)


# Expressions


@pytest.mark.parametrize(
    ("more", "path", "message"),
    [
        ({"if_": "failure.code"}, ("if",), "unknown name 'failure'; in scope here: event, input, run, steps"),
        ({"if_": "1 +"}, ("if",), "syntax error: the expression ends too early"),
        ({"if_": "1 + 1"}, ("if",), "gives a number, not bool"),
        ({"if_": "steps.a.status == 'x'"}, ("if",), "step 'a' cannot read its own result before it has one"),
        (
            {"with_": {"x": "${{ steps.a.output }}"}},
            ("with", "x"),
            "step 'a' cannot read its own result before it has one",
        ),
        (
            {"with_": {"x": ["${{ secret('k') }}"]}},
            ("with", "x", 0),
            "secret() is not supported by this version",
        ),
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
            "unknown name 'failure'; in scope here: event, input, run, steps",
        ),
        (
            {"output": "${{ steps.a.ouput.x }}"},
            ("output",),
            "a step has no 'ouput', only status, output, attempts, error",
        ),
        (
            {"compensate": {"action": "u", "with": {"x": "${{ steps.b.output }}"}}},
            ("compensate", "with", "x"),
            "step 'b' need not have ended before 'a'",
        ),
        (
            {"compensate": {"action": "u", "target": "${{ item }}"}},
            ("compensate", "target"),
            "'item' belongs to foreach, which is not supported by this version",
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


# The input


SCHEMA = {
    "type": "object",
    "required": ["url"],
    "properties": {
        "url": {"type": "string"},
        "next": {"$ref": "#"},
        "tags": {"items": {"$ref": "#/$defs/tag"}},
    },
    "$defs": {"tag": {"enum": ["a", "b"]}},
}


def test_input_is_checked() -> None:
    """Each misfit is one readable line with its path; what fits gives none."""
    definition = compile_(step("a"), input=SCHEMA)
    assert definition.check_input({"url": "x", "next": {"url": "y"}, "tags": ["a"]}) == []
    assert definition.check_input({"url": 5, "next": {}, "tags": ["a", "c"]}) == [
        "input.url: 5 is not of type 'string'",
        "input.next: 'url' is a required property",
        "input.tags[1]: 'c' is not one of ['a', 'b']",
    ]
    assert definition.check_input(None) == ["input: None is not of type 'object'"]


def test_no_schema_takes_anything() -> None:
    """Without a schema every input fits."""
    assert compile_(step("a")).check_input({"x": [1]}) == []


def test_problems_with_the_input_are_limited() -> None:
    """Neither many problems nor a long value makes a long answer."""
    definition = compile_(step("a"), input={"items": {"type": "string", "maxLength": 1}})
    lines = definition.check_input([1] * 1000)
    assert len(lines) == 20
    assert all(len(line) < 500 for line in definition.check_input(["x" * 100_000]))


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"type": "objekt"}, ("type",), "'objekt' is not a type"),
        ({"properties": {"x": {"pattern": "("}}}, ("properties", "x", "pattern"), "'(' is not a valid regex"),
        ({"required": "x"}, ("required",), "'x' is not of type 'array'"),
        ({"minimum": "1"}, ("minimum",), "'1' is not of type 'number'"),
        (
            {"$ref": "https://example.com/s.json"},
            ("$ref",),
            "'https://example.com/s.json' leads out of this document",
        ),
        (
            {"items": {"$ref": "file:///etc/passwd"}},
            ("items", "$ref"),
            "'file:///etc/passwd' leads out of this document",
        ),
        ({"$ref": "#/$defs/x"}, ("$ref",), "'#/$defs/x' leads to no schema"),
        ({"required": ["a"], "$ref": "#/required"}, ("$ref",), "'#/required' leads to no schema"),
        ({"$ref": "#nope"}, ("$ref",), "'#nope' leads to no schema"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#"},
            ("$schema",),
            "only the draft https://json-schema.org/draft/2020-12/schema is supported",
        ),
    ],
)
def test_bad_schemas(schema: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    """The schema itself is checked, and nothing outside the document is ever referred to."""
    assert problem(step("a"), input=schema)[:2] == (("input", *path), message)


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$id": "https://example.com/x", "$ref": "#/$defs/a", "$defs": {"a": True}},
        {"$ref": "#a", "$defs": {"x": {"$anchor": "a"}}},
        {"properties": {"$ref": {"type": "string"}}, "default": {"$ref": "https://example.com"}},
    ],
)
def test_good_schemas(schema: dict[str, Any]) -> None:
    """References inside the document work; `$ref` as a property's name or inside data is no reference."""
    assert compile_(step("a"), input=schema).check_input({}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/x-mine", "x-mine": {"type": 5}},
        {"$ref": "#/x-mine", "x-mine": {"items": 3}},
    ],
)
def test_schemas_that_break_in_use(schema: dict[str, Any]) -> None:
    """What no check of the schema finds is a problem of the input, not a crash."""
    (line,) = compile_(step("a"), input=schema).check_input([1])
    assert line.startswith("the input cannot be checked")


# As a whole


def test_version_is_the_content() -> None:
    """The same content has the same version, however it was laid out; any change makes another."""
    one = compile_(step("a", retry={"backoff": 2}, with_={"x": 1, "y": 2}))
    same = compile_(step("a", with_={"y": 2, "x": 1}, retry={"backoff": 2.0}, idempotent=False))
    other = compile_(step("a", retry={"backoff": 2}, with_={"x": 1, "y": 3}))
    assert one.version == same.version != other.version
    assert len(one.version) == 64
    assert one.name == "w"


def test_documents_have_a_limit() -> None:
    """A document that could not be stored and read again is refused."""
    path, message, _ = problem(step("a", with_={"x": "x" * 1024 * 1024}))
    assert path == ()
    assert message.endswith("more than the limit of 1048576")


def test_the_error_tells_all() -> None:
    """The error's details hold every problem as JSON."""
    with pytest.raises(InvalidDefinition) as caught:
        compile_(step("a", timeout="0s", if_="1 +"))
    assert caught.value.message.startswith("2 problems, the first: ")
    details = msgspec.json.decode(msgspec.json.encode(caught.value.details))
    assert [one["path"] for one in details] == [["steps", 0, "if"], ["steps", 0, "timeout"]]


def test_a_thousand_steps_are_quick() -> None:
    """The largest document takes no more than a few seconds of this process's time (it takes about one)."""
    steps = [step("s0")] + [
        step(
            f"s{i}",
            if_="input.n > 1",
            with_={"a": "${{ input.x }}", "b": f"v-${{{{ event.data.y }}}}-${{{{ steps.s{i - 1}.output }}}}"},
            compensate={"action": "u", "with": {"p": f"${{{{ steps.s{i}.output.p }}}}"}},
        )
        for i in range(1, 1000)
    ]
    document = msgspec.convert({"workflow": "w", "steps": steps}, Workflow)
    started = time.process_time()
    definition = compile_definition(document)
    assert time.process_time() - started < 5
    assert len(definition.steps["s999"].upstream) == 999


def test_a_dense_circle_is_quick() -> None:
    """Many wrong edges give a bounded answer in bounded time."""
    steps = [step(f"s{i}", needs=[f"s{j}" for j in range(300) if j != i]) for i in range(300)]
    started = time.process_time()
    assert len(problems(*steps)) == 20
    assert time.process_time() - started < 2
