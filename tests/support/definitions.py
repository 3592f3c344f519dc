"""Documents as Python data, and what the compiler makes of them or has against them."""

from typing import Any

import msgspec
import pytest

from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import Definition, InvalidDefinition, Problem
from schemas.workflow import Workflow

__all__ = ["SECOND", "compile_", "do", "problem", "problems", "step"]

SECOND = 1_000_000


def step(name: str, **more: Any) -> dict[str, Any]:
    """A step with the least it must have; `if_` and `with_` stand for `if` and `with`."""
    return do(name, **{"action": "x.y", "target": "h", **more})


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


def do(name: str, **fields: Any) -> dict[str, Any]:
    """A step of whatever kind `fields` say; `if_` and `with_` stand for `if` and `with`."""
    return {"id": name, **{key.rstrip("_"): fields[key] for key in fields}}
