"""Versions of documents: what is one version is known by one hash, also after it was stored."""

import pytest

from orchestrator.core.definition import Definition
from orchestrator.definitions import read_definition, stored_definition
from orchestrator.document import read_workflow
from orchestrator.store.port import StoredDefinition

pytestmark = pytest.mark.unit


def written(beside: str = "", step: str = "") -> Definition:
    """A workflow with something more beside its steps, or in its step."""
    text = f"workflow: w\n{beside}\nsteps:\n  - {{id: a, action: do.it, target: h1{step}}}\n"
    return read_workflow(text.encode(), "w.yaml")


@pytest.mark.parametrize(
    ("beside", "step"),
    [
        ("", ", on_failure: compensate"),
        ("", ", on_unknown: ask"),
        ("", ", pivot: false, idempotent: false, needs: []"),
        ("concurrency: {group: g, limit: 1, on_conflict: queue}", ""),
        ('triggers: [{schedule: {cron: "0 1 * * *", timezone: UTC, missed: skip}}]', ""),
        ("priority: 5", ", retry: {attempts: 1, delay: 1s, backoff: 2}"),
        ("description: ''", ", compensate: {action: undo.it, after_failure: false}"),
    ],
)
def test_a_default_that_is_written_out_is_the_same_version_when_read_again(beside: str, step: str) -> None:
    """A run finds its definition after a restart."""
    definition = written(beside, step)
    again = read_definition(stored_definition(definition, at=0))
    assert (again.version, again.document) == (definition.version, definition.document)
    assert stored_definition(again, at=0).version == definition.version


def test_a_default_that_is_written_out_says_nothing_more() -> None:
    """It is the version without it."""
    assert written(step=", on_failure: compensate").version == written().version
    assert written(step=", on_failure: pause").version != written().version


def test_a_definition_keeps_the_version_that_it_was_stored_with() -> None:
    """Runs know it by that, also when another release of Baton would give it another hash."""
    stored = stored_definition(written(), at=0)
    older = StoredDefinition(stored.workflow, "0" * 64, stored.document, stored.at)
    assert read_definition(older).version == "0" * 64
