"""Which events some task may wait for, and where they are filed, so that a task is found without asking all.

An event is filed under (topic, value). A topic stands for one kind of waiting: an event pattern and the
expression whose value decides.
"""

from typing import Any

from orchestrator.core.definition import AwaitDef, Definition
from orchestrator.core.expressions import ExpressionError
from orchestrator.store.port import Place

__all__ = ["Awaits"]


class Awaits:
    """Every kind of waiting of the definitions that it was given."""

    def __init__(self) -> None:
        self._by_topic: dict[str, AwaitDef] = {}
        self._versions: set[str] = set()

    def add(self, definition: Definition) -> None:
        """Take in a definition, be it current or one that a live run keeps to."""
        found = [step.wait for step in definition.steps.values() if step.wait is not None]
        self._by_topic.update((wait.topic, wait) for wait in found)
        if found:
            self._versions.add(definition.version)

    def has(self, version: str) -> bool:
        """Whether tasks of this version ever wait for events."""
        return version in self._versions

    def places(self, event_type: str, scope: dict[str, Any]) -> list[Place]:
        """Where an event is to be filed; `scope` is what expressions see as `event`.

        An event that lacks what a topic asks for is not meant by it.
        """
        return [
            (topic, value)
            for topic, wait in self._by_topic.items()
            if wait.matches(event_type) and (value := _value(wait, scope)) is not None
        ]


def _value(wait: AwaitDef, scope: dict[str, Any]) -> str | None:
    if wait.value_of is None:
        return ""
    try:
        return wait.value_of.evaluate_text({"event": scope})
    except ExpressionError:
        return None
