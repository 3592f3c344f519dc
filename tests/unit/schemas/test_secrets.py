"""Where the values of secrets go in a command's arguments."""

from typing import Any

import pytest

from schemas import secrets
from schemas.codec import Malformed, decode, encode
from schemas.errors import InvalidInput
from schemas.messages import Command
from schemas.secrets import SecretName, SecretRef, fill
from tests.support.agents import command

VALUES = {"a": "one", "b": "two"}


def filled(args: dict[str, Any], *references: SecretRef) -> dict[str, Any]:
    """The arguments with `VALUES`."""
    return fill(args, references, VALUES.__getitem__)


def test_texts_go_into_their_places() -> None:
    """Beside others and into lists; what was given stays as it was."""
    args = {"x": None, "deep": [{"y": None}, {"y": None}], "z": None}
    result = filled(
        args,
        SecretRef(["x"], [SecretName("a")]),
        SecretRef(["deep", 0, "y"], ["<", SecretName("b"), SecretName("a"), ">"]),
        SecretRef(["deep", 1, "y"], [SecretName("b")]),
    )
    assert result == {"x": "one", "deep": [{"y": "<twoone>"}, {"y": "two"}], "z": None}
    assert args == {"x": None, "deep": [{"y": None}, {"y": None}], "z": None}


@pytest.mark.parametrize(
    "path",
    [
        ["no"],
        ["list", 2],
        ["list", -1],
        ["list", "0"],
        ["text"],
        ["map"],
        ["x", "y"],
        ["x", 0],
        [0],
        ["map", 0],
    ],
)
def test_a_path_leads_to_a_null(path: list[str | int]) -> None:
    """What leads nowhere, or to a value, is refused: nothing is put over something."""
    args = {"x": None, "list": [None, None], "text": "t", "map": {"k": None}}
    with pytest.raises(InvalidInput) as caught:
        filled(args, SecretRef(path, [SecretName("a")]))
    assert caught.value.code == "bad_reference"


def test_a_place_is_filled_once() -> None:
    """A second reference to it is refused."""
    twice = SecretRef(["x"], [SecretName("a")])
    with pytest.raises(InvalidInput):
        filled({"x": None}, twice, twice)


def test_together_they_are_not_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short command cannot become an endless one."""
    monkeypatch.setattr(secrets, "MAX_FILLED", 8)
    assert filled({"x": None}, SecretRef(["x"], ["12345", SecretName("a")])) == {"x": "12345one"}
    with pytest.raises(InvalidInput) as caught:
        filled({"x": None, "y": None}, SecretRef(["x"], ["123456"]), SecretRef(["y"], [SecretName("a")]))
    assert caught.value.code == "bad_reference"


def test_a_command_without_secrets_says_nothing_of_them() -> None:
    """On the wire it is as it was before there were any."""
    assert b"secrets" not in encode(command("x", {"a": 1}))
    asked = command("x", {"a": None}, secrets=[SecretRef(["a", 0], ["t", SecretName("a")])])
    assert decode(encode(asked), Command) == asked


@pytest.mark.parametrize(
    "reference",
    [
        {"path": [], "parts": ["a"]},
        {"path": ["a"], "parts": []},
        {"path": [True], "parts": ["a"]},
        {"path": ["a"], "parts": [{"name": "../x"}]},
        {"path": ["a"], "parts": [{"name": "x", "more": 1}]},
        {"path": ["a"]},
    ],
)
def test_a_misshapen_reference_is_malformed(reference: Any) -> None:
    """As any other message that is not what the schema says."""
    body = encode({**decode(encode(command("x")), dict), "secrets": [reference]})
    with pytest.raises(Malformed):
        decode(body, Command)
