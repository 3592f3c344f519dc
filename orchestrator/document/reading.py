"""From the text of a workflow document to a definition, or to all that is wrong with it."""

from collections.abc import Iterable
from typing import Final

from orchestrator.core.compiler import compile_definition, group_deadlocks, workflow_circles
from orchestrator.core.definition import Definition, InvalidDefinition, Path, Problem
from orchestrator.document.diagnostics import Diagnostic, InvalidDocument
from orchestrator.document.nodes import MAX_BYTES, Node, parse
from orchestrator.document.shape import fit

__all__ = ["check_circles", "check_text", "decode_text", "locate", "read_node", "read_workflow"]

_MAX_DIAGNOSTICS: Final = 1_000


def read_workflow(text: str | bytes, name: str) -> Definition:
    """The definition in `text`; `name` stands for it in errors. `InvalidDocument` has everything wrong."""
    definition, found = _read(text, name)
    if found or definition is None:
        raise InvalidDocument(found)
    return definition


def check_text(text: str | bytes, name: str) -> list[Diagnostic]:
    """Everything wrong with the document, in the order of the text; empty when there is nothing."""
    return _read(text, name)[1]


def check_circles(documents: Iterable[tuple[str | bytes, str, Definition]]) -> list[Diagnostic]:
    """Workflows that start each other without end, or wait for themselves, among good documents.

    These are given as text, name and definition. A circle is told of once, where its first workflow starts
    the next.
    """
    named = {definition.name: (text, name, definition) for text, name, definition in documents}
    definitions = {name: definition for name, (_, _, definition) in named.items()}
    found: list[Diagnostic] = []

    def tell(way: list[str], message: str, hint: str) -> None:
        text, name, definition = named[way[0]]
        index = next(step.index for step in definition.steps.values() if step.child == way[1])
        found.extend(locate(text, name, [(("steps", index, "workflow"), message, hint)]))

    for circle in workflow_circles(definitions):
        way = [*circle, circle[0]]
        message = f"workflows start each other in a circle: {' -> '.join(way)}"
        tell(way, message, "it would never end; let one of them not start another")
    for way in group_deadlocks(definitions):
        message = f"a child run would wait for a run above it in their concurrency group: {' -> '.join(way)}"
        tell(way, message, "give the child workflow another group than its parent's")
    return found


def locate(text: str | bytes, name: str, found: Iterable[tuple[Path, str, str]]) -> list[Diagnostic]:
    """Paths in the good document `text`, each with a message and a hint, as diagnostics with their places."""
    decoded = decode_text(text, name)
    root = None if isinstance(decoded, Diagnostic) else parse(decoded, name)[0]
    if root is None:
        raise AssertionError(name)
    return [_located(Problem(path, message, hint), root, name) for path, message, hint in found]


def _read(text: str | bytes, name: str) -> tuple[Definition | None, list[Diagnostic]]:
    decoded = decode_text(text, name)
    if isinstance(decoded, Diagnostic):
        return None, [decoded]
    root, found = parse(decoded, name)
    if root is None:
        return None, _sorted(found)
    definition, further = read_node(root, name)
    return definition, _sorted(found + further)


def read_node(root: Node, name: str) -> tuple[Definition | None, list[Diagnostic]]:
    """As `read_workflow`, of a document that is already a tree of nodes, perhaps part of another."""
    shape = fit(root, name)
    found = shape.found
    if shape.document is None:
        return None, _sorted(found)
    try:
        definition = compile_definition(shape.document)
    except InvalidDefinition as error:
        for problem in error.problems[:_MAX_DIAGNOSTICS]:
            if not shape.covers(problem.path) and not (problem.order and shape.order_unsure):
                found.append(_located(problem, root, name))
        return None, _sorted(found)
    return definition, _sorted(found)


def decode_text(text: str | bytes, name: str) -> str | Diagnostic:
    """The text itself, when it is UTF-8 and not too large."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_BYTES:
        message = f"{len(raw)} bytes, more than the limit of {MAX_BYTES}"
        return Diagnostic(name, 1, 1, message, "keep data out of the document")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Diagnostic(name, line, column, "this is not UTF-8 text", "save the file as UTF-8")


def _located(problem: Problem, root: Node, name: str) -> Diagnostic:
    """The problem with its place in the text: that of the value, or of the nearest thing around it."""
    node = root
    for key in problem.path:
        inner = _child(node, key)
        if inner is None:
            line, column = node.line, node.column
            break
        node = inner
    else:
        line, column = node.at(problem.offset)
    return Diagnostic(name, line, column, problem.message, problem.hint, problem.path)


def _child(node: Node, key: str | int) -> Node | None:
    """The value under `key`, if there is one."""
    if isinstance(key, str):
        entry = (node.entries or {}).get(key)
        return entry[1] if entry is not None else None
    items = node.items or []
    return items[key] if key < len(items) else None


def _sorted(found: list[Diagnostic]) -> list[Diagnostic]:
    """By position, none twice, and no more than anyone would read."""
    return sorted(set(found), key=lambda one: (one.line, one.column, one.message))[:_MAX_DIAGNOSTICS]
