"""What expressions may cost: those that would take all memory are refused, those of every day are not."""

import resource
import subprocess
import sys
from typing import Any

import pytest

from orchestrator.core.costs import MAX_EXPRESSION_COST, cost_of
from orchestrator.core.expressions import Expression, ExpressionError
from orchestrator.core.lexing import tokens

pytestmark = pytest.mark.unit

SCOPE = frozenset({"input", "steps"})
TENFOLD = ".map(a,a+a+a+a+a+a+a+a+a+a)"
HOST = {"name": "host-1.example", "region": "eu", "ok": True, "port": 80, "ports": [1, 2, 3]}


def evaluate(source: str, data: dict[str, Any]) -> Any:
    """The value of `source` over an input."""
    return Expression.compile(source, SCOPE).evaluate({"input": data})


@pytest.mark.parametrize(
    ("source", "cost"),
    [
        ("input.a + input.b", 1),
        ("input.l.map(a, a)", 1),
        ("input.l.map(a, a + a + a)", 3),
        ("input.l.map(a, [a, a]).map(b, {b: b})", 4),
        ("[input.x + input.y].map(a, a + a)", 4),
        ("input.l.map(a, a.m.map(b, b + b) + a.m)", 3),
        ("input.l.map(a, a + a) + input.l.map(a, a + a)", 4),
        ("size(f.g(input.l)[0].x.filter(a, a.b == 1).map(a, a + a))", 2),
        ('input.l.map(a, a + "+,:")', 1),
        ("{'a': [1, 2, 3].exists(a, a in ['x', 'y']) ? input.b : 1}", 2),
    ],
)
def test_the_cost_is_how_many_times_data_may_be_repeated(source: str, cost: int) -> None:
    """Loops behind and inside each other multiply, those side by side add up; texts count for nothing."""
    assert cost_of(tokens(source), SCOPE).total == cost


@pytest.mark.parametrize(
    "source",
    [
        '["aaaaaaaaaa"]' + TENFOLD * 4,
        "[1]" + ".map(a,[a,a,a,a,a])" * 8,
        "[1]" + ".map(a,{'k':a,'l':a})" * 8,
        "[1].map(a, [a].map(a, [a].map(a, a+a+a+a+a+a+a+a)[0]+a+a+a+a+a+a+a+a)" + TENFOLD * 3 + ")",
    ],
)
def test_an_expression_that_grows_its_data_too_much_does_not_compile(source: str) -> None:
    """The message has the limit, the hint what to do."""
    with pytest.raises(ExpressionError, match=f"more than {MAX_EXPRESSION_COST}") as caught:
        Expression.compile(source, SCOPE)
    assert "steps" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ('["aaaaaaaaaa"]' + TENFOLD * 3, {}),
        ("input.l" + TENFOLD, {"l": ["x" * 10_000] * 100}),
        ("input.l.map(a, input.s)", {"l": [1] * 5_000, "s": "x" * 100_000}),
        ("input.l.exists(a, (input.l + input.l + input.l) == [])", {"l": [1] * 5_000}),
        ("input.l.exists(a, input.s + 'x' == '')", {"l": [1] * 6_000, "s": "x" * 100_000}),
        ("input.l.map(a, a)", {"l": [1] * 9_000}),
        ("[input].map(x, x.l.map(y, x))", {"l": ["x" * 100] * 1_000}),
        (
            "input.l.map(a, input.l.map(b, input.s)).map(c, input.l.map(d, c))",
            {"l": [1] * 70, "s": "x" * 2_000},
        ),
    ],
)
def test_data_that_an_expression_would_fill_memory_with_is_refused(source: str, data: dict[str, Any]) -> None:
    """Before anything is evaluated, with a code of its own."""
    with pytest.raises(ExpressionError, match="MiB") as caught:
        evaluate(source, data)
    assert caught.value.code == "expression_too_costly"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('input.hosts.filter(h, h.region in ["eu", "us"] && h.ok).map(h, {"n": h.name, "p": h.port})', 1_500),
        ('input.hosts.map(h, "http://" + h.name + "." + input.domain + ":" + string(h.port))', 2_000),
        ("input.hosts.map(h, h.ports.map(p, {'host': h.name, 'port': p}))", 1_000),
        ("input.hosts.filter(h, !input.gone.exists(g, g == h.name)).map(h, h.name)", 1_000),
        ("input.hosts.map(h, h.name)", 5_000),
    ],
)
def test_what_is_done_with_many_hosts_every_day_is_not_refused(source: str, count: int) -> None:
    """The bounds are far from what lists of some thousand hosts need."""
    assert len(evaluate(source, {"hosts": [HOST] * count, "domain": "example.org", "gone": ["a"]})) == count


WORST = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({room}, {room}))
from orchestrator.core.expressions import Expression, ExpressionError
for source, data in {cases!r}:
    try:
        Expression.compile(source, frozenset({{"input"}})).evaluate({{"input": data}})
    except ExpressionError as error:
        assert error.code == "expression_too_costly" or "more than 1000" in error.message, error
print("alive")
"""


def test_no_expression_takes_all_memory() -> None:
    """What comes near the bound, and far beyond it, is survived with 1.5 GiB of address space."""
    cases = [
        ('["aaaaaaaaaa"]' + TENFOLD * 8, {}),
        ("input.l.map(a, a)", {"l": [1] * 5_500}),
        ("input.l.map(a, a)", {"l": [1] * 9_900}),
        ("input.l.map(a, input.l.map(b, {'a': a, 'b': b}))", {"l": [1] * 95}),
        ("input.l.filter(a, input.l + input.l == [])", {"l": [1] * 1_500}),
    ]
    script = WORST.format(room=3 * resource.getpagesize() * 1024 * 128, cases=cases)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "alive\n", done.stderr[-500:]
