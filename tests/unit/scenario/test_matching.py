"""Expected commands beside those that were sent."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from orchestrator.scenario.log import SentCommand
from orchestrator.scenario.matching import compare_commands
from orchestrator.scenario.naming import parse_command
from schemas.messages import Command, CommandKind
from schemas.scenario import Expected
from schemas.times import to_datetime

SECOND = 1_000_000


def sent(*texts: str, answered: dict[str, int] | None = None) -> list[SentCommand]:
    """Commands sent in turns 1, 2, …, a second apart; `answered` says in which turn some were answered."""
    return [
        SentCommand(
            at=number * SECOND,
            number=number,
            name=replace(name, attempt=name.attempt or 1),
            agents=("h1",),
            runs=("order",),
            command=Command(
                id=text,
                run_id="r",
                workflow="order",
                step=name.step,
                host_index=0,
                attempt=name.attempt or 1,
                kind=CommandKind.EXECUTE,
                action="do.it",
                issued_at=to_datetime(0),
                expires_at=to_datetime(0),
                timeout=1,
                epoch=1,
                reply_to="0",
                args={"of": text},
            ),
            answered=(answered or {}).get(text),
        )
        for number, (text, name) in enumerate(((text, parse_command(text)) for text in texts), start=1)
    ]


def agree(expected: list[Any], *texts: str, answered: dict[str, int] | None = None) -> bool:
    """Whether what was sent is as expected."""
    wanted = msgspec.convert({"commands": expected}, Expected).commands
    assert wanted is not None
    return all(row.good for row in compare_commands(wanted, sent(*texts, answered=answered), with_run=False))


@pytest.mark.parametrize(
    ("expected", "texts", "good"),
    [
        ([], (), True),
        ([], ("a",), False),
        (["a"], (), False),
        (["a", "b"], ("a", "b"), True),
        (["a", "b"], ("b", "a"), False),
        (["a", "b"], ("a", "b", "b"), False),
        (["a", "a"], ("a",), False),
        ([["a", "b"]], ("b", "a"), True),
        ([["a", "b"]], ("a", "c"), False),
        ([["a", "b"], "c"], ("a", "c", "b"), False),
        ([["a", "b"], ["c", "d"]], ("b", "a", "d", "c"), True),
        ([{"any": [["a", "b"], ["x", "y"]]}], ("a", "x", "y", "b"), True),
        ([{"any": [["a", "b"], ["x", "y"]]}], ("x", "a", "b", "y"), True),
        ([{"any": [["a", "b"], ["x", "y"]]}], ("b", "a", "x", "y"), False),
        ([{"any": [["a", "b"], "x"]}, "z"], ("a", "b", "z", "x"), False),
        ([{"any": ["p", ["a", ["b", "c"], "d"]]}], ("a", "c", "p", "b", "d"), True),
        ([{"any": ["p", ["a", ["b", "c"], "d"]]}], ("a", "c", "d", "b", "p"), False),
        ([["a", "a#2"]], ("a#2", "a"), True),
        ([{"command": "a", "at": "1s"}], ("a",), True),
        ([{"command": "a", "at": "2s"}], ("a",), False),
        ([{"command": "a", "with": {"of": "a"}}], ("a",), True),
        ([{"command": "a", "with": {"of": "b"}}], ("a",), False),
        ([{"command": "a", "with": {}}], ("a",), False),
    ],
)
def test_order(expected: list[Any], texts: tuple[str, ...], *, good: bool) -> None:
    """A list keeps its order, a list within is free in itself, `any` mixes sequences; all must be there."""
    assert agree(expected, *texts) is good


def test_side_by_side_means_that_none_waits_for_another() -> None:
    """Two undos one after the other are in order, but not side by side."""
    assert agree([["a", "b"]], "a", "b", answered={"a": 3, "b": 4})
    assert not agree([["a", "b"]], "a", "b", answered={"a": 2, "b": 4}), (
        "b was sent in the turn that took a's answer"
    )
    assert agree([{"any": ["a", "b"]}], "a", "b", answered={"a": 2, "b": 4})


def test_what_differs_is_put_side_by_side() -> None:
    """Missing and unexpected commands stand where they belong, with the times of what was sent."""
    wanted = ["a", "b", "c"]
    rows = compare_commands(wanted, sent("a", "x", "c"), with_run=True)
    assert [(row.expected, row.actual) for row in rows] == [
        ("a", "a on h1 in order"),
        ("b", None),
        (None, "x on h1 in order"),
        ("c", "c on h1 in order"),
    ]
    assert [row.at for row in rows] == [1 * SECOND, None, 2 * SECOND, 3 * SECOND]
