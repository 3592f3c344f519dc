"""Compiling a document: the order of the steps, defaults, limits, and the document as a whole."""

import time
from typing import Any

import msgspec
import pytest

from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import InvalidDefinition, RetryPolicy
from schemas.workflow import Workflow
from tests.support.definitions import SECOND, compile_, problem, problems, step

pytestmark = pytest.mark.unit


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
        (("steps", 1, "needs", 1), "step 'b' needs itself", "leave it out"),
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
    assert a.target is not None
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
