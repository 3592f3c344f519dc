"""Whatever document fits the shapes, it is compiled or refused with all that is wrong with it."""

from typing import Any

import pytest
from hypothesis import given

from orchestrator.core.compiler import compile_definition
from orchestrator.core.definition import InvalidDefinition, Path
from schemas.codec import decode, encode
from schemas.workflow import Workflow
from tests.support.documents import workflows

pytestmark = pytest.mark.property


def stands(document: Any, path: Path) -> bool:
    """Whether all but the last key of a path lead somewhere: what is missing is named by where it belongs."""
    for key in path[:-1]:
        try:
            document = document[key]
        except (IndexError, KeyError, TypeError):
            return False
    return True


@given(workflows)
def test_any_document_is_compiled_or_refused(document: Workflow) -> None:
    """Nothing but `InvalidDefinition` comes of it, and each problem says something about a place in it."""
    try:
        definition = compile_definition(document)
    except InvalidDefinition as error:
        plain = decode(encode(document), dict[str, Any])
        for problem in error.problems:
            assert problem.message
            assert stands(plain, problem.path), problem
        return
    assert list(definition.steps) == [step.id for step in document.steps]
    for step in definition.steps.values():
        assert (step.target is not None) is (step.kind == "action")
        assert step.fans_out is (step.foreach is not None or step.rollout is not None)
