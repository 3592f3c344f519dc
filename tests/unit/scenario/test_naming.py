"""How commands and moments are named in scenarios."""

import pytest

from orchestrator.scenario.naming import CommandName, Moment, parse_command, parse_moment
from schemas.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("charge", CommandName("do", undo=False, step="charge")),
        ("undo charge", CommandName("do", undo=True, step="charge")),
        ("cancel charge", CommandName("cancel", undo=False, step="charge")),
        ("query undo charge", CommandName("query", undo=True, step="charge")),
        ("undo", CommandName("do", undo=False, step="undo")),
        ("undo undo", CommandName("do", undo=True, step="undo")),
        (
            "undo my-step[2]#3 on web-1.example in order~2",
            CommandName(
                "do", undo=True, step="my-step", index=2, attempt=3, agent="web-1.example", run="order~2"
            ),
        ),
    ],
)
def test_a_command_is_named_in_one_line(text: str, name: CommandName) -> None:
    """A verb, the step, and what narrows it down; a step may be called like a verb."""
    assert parse_command(text) == name


@pytest.mark.parametrize(
    "text", ["", "undo  charge", "charge on", "charge[x]", "charge#", "do it now", "1st"]
)
def test_what_names_no_command_is_refused(text: str) -> None:
    """With a hint that shows the grammar."""
    with pytest.raises(InvalidInput) as caught:
        parse_command(text)
    assert "STEP" in caught.value.hint


def test_a_name_fits_whatever_it_leaves_open() -> None:
    """What is said must agree, what is not said may be anything."""
    full = CommandName("do", undo=False, step="a", index=1, attempt=2)
    names = {"agents": ("h1", "pool"), "runs": ("order~2", "order")}
    fitting = ("a", "a[1]", "a#2", "a on h1", "a on pool", "a in order", "a[1]#2 on h1 in order~2")
    others = ("b", "undo a", "cancel a", "a[0]", "a#1", "a on h2", "a in pay")
    assert all(parse_command(text).fits(full, **names) for text in fitting)
    assert not any(parse_command(text).fits(full, **names) for text in others)


def test_moments() -> None:
    """A status of the run or of a step, or a command that is sent."""
    assert parse_moment("run attention") == Moment(None, "attention", None)
    assert parse_moment("a in_doubt in order~2") == Moment(parse_command("a"), "in_doubt", "order~2")
    assert parse_moment("undo a#2 sent") == Moment(parse_command("undo a#2"), "sent", None)
    for text in ("attention", "a exploded", "run", ""):
        with pytest.raises(InvalidInput):
            parse_moment(text)
