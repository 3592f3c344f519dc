"""The page about agents says what the code does."""

import re
from pathlib import Path

import pytest

from agents import cli
from agents.builtins import builtin_actions
from agents.loading import load_actions
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "agents.md").read_text()


def test_every_flag_is_on_the_page() -> None:
    """And no other."""
    table = set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE))
    assert table == {
        option
        for action in cli._parser({})._actions
        for option in action.option_strings
        if option.startswith("--") and option not in ("--help", "--version")
    }


def test_every_built_in_is_on_the_page() -> None:
    """With its arguments in order, what it gives, and whether it is idempotent."""
    rows = re.findall(r"^\| `([a-z.]+)\(([^)]*)\)` \| `([^`]*)` \| (\w+)", PAGE, re.MULTILINE)
    actions = builtin_actions()
    assert {name for name, *_ in rows} == set(actions)
    for name, arguments, gives, idempotent in rows:
        action = actions[name]
        assert arguments.split(", ") == list(action.info().args["properties"]), name
        output = action.body.function.__annotations__["return"]
        assert gives.split(", ") == list(output.__struct_fields__), name
        says = "as" if callable(action.idempotent) else "yes" if action.idempotent else "no"
        assert idempotent == says, name


@pytest.mark.parametrize("name", ["app.switch"])
def test_the_example_loads(tmp_path: Path, name: str) -> None:
    """As a module of an agent's."""
    example = re.search(r"```python\n# deploy.py\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    (tmp_path / "deploy.py").write_text(example[1])
    action = load_actions([tmp_path / "deploy.py"], [])[name]
    assert action.body.check({"version": "1"}) == {"version": "1", "drain": True}
