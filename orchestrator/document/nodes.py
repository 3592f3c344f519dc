"""YAML 1.2 text to a tree of nodes that know where they stand.

This is the one module that knows the YAML library, of which only the parser is used: what a scalar means is
decided here by the core schema of YAML 1.2 (`yes`, `no`, `on` are text). Nothing is ever constructed from a
tag. Anchors and aliases are refused, so a small text cannot grow into a large document.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from orchestrator.document.diagnostics import Diagnostic

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "Node", "parse"]

MAX_BYTES: Final = 1024 * 1024
"""Largest document that is accepted."""
MAX_DEPTH: Final = 50
"""Deepest nesting of lists and maps that is accepted."""
MAX_NODES: Final = 100_000
"""Most keys and values that a document may have: three times what a thousand full steps need."""
_MAX_DIGITS: Final = 100
_MAX_OFFSET: Final = 10_000  # further into a text nobody counts characters

_CORE: Final = "tag:yaml.org,2002:"
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Node:
    """A value in the text: `data` is what it means, `line` and `column` (from 1) where it begins.

    A map has `entries` (key node and value node by key), a list has `items`. `bad` marks a value that a
    diagnostic was already given for.
    """

    data: Any
    line: int
    column: int
    raw: str = ""
    entries: dict[str, tuple["Node", "Node"]] | None = None
    items: list["Node"] | None = None
    bad: bool = field(default=False)

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of character `offset` of a text value, as well as its notation lets one tell."""
        if not 0 < offset <= _MAX_OFFSET or not isinstance(self.data, str):
            return self.line, self.column
        if self.raw.startswith("|"):
            return self._in_block(offset)
        if "\n" in self.raw or self.raw.startswith((">", "!")):
            return self.line, self.column
        return self.line, self.column + _raw_offset(self.raw, offset)

    def _in_block(self, offset: int) -> tuple[int, int]:
        """As `at`, in a literal block: its lines stand as they are, after the indentation."""
        before = self.data[:offset]
        lines = self.raw.splitlines()[1:]
        row = before.count("\n")
        text = self.data.split("\n")[row]
        if row >= len(lines) or not lines[row].endswith(text):
            return self.line, self.column
        indent = len(lines[row]) - len(text)
        return self.line + 1 + row, indent + offset - (before.rfind("\n") + 1) + 1


def parse(text: str, file: str) -> tuple[Node | None, list[Diagnostic]]:
    """The root node of the one document in `text`, and what is wrong with it as YAML.

    The node is None when the text cannot be read to its end.
    """
    return _Parser(text, file).parse()


class _Stop(Exception):
    """Nothing after this makes sense; the diagnostic is recorded."""


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self.text = text.removeprefix("\ufeff")
        self.file = file
        self.found: list[Diagnostic] = []
        self.nodes = 0

    def parse(self) -> tuple[Node | None, list[Diagnostic]]:
        try:
            self._check_directives()
            return self._document(self._events()), self.found
        except _Stop:
            return None, self.found

    def _report(self, line: int, column: int, message: str, hint: str = "") -> None:
        self.found.append(Diagnostic(self.file, line, column, message, hint))

    def _report_at(self, event: Event, message: str, hint: str = "") -> None:
        self._report(event.start_mark.line + 1, event.start_mark.column + 1, message, hint)

    def _events(self) -> Iterator[Event]:
        """The parser's events; its errors become a diagnostic and `_Stop`."""
        try:
            yield from YAML(typ="safe", pure=True).parse(io.StringIO(self.text))
        except MarkedYAMLError as error:
            self._report_syntax(error)
            raise _Stop from None
        except YAMLError as error:
            self._report_character(error)
            raise _Stop from None
        except Exception:  # noqa: BLE001 - on odd escapes the library fails in its own ways
            self._report(1, 1, "this is not YAML that can be read", "look for odd escapes and tags")
            raise _Stop from None

    def _report_syntax(self, error: MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        lines = self.text.splitlines()
        hint = ""
        if line <= len(lines):
            if "${{" in lines[line - 1]:
                hint = 'text that holds ${{ … }} is best put in quotes: "${{ … }}"'
            elif "\t" in lines[line - 1]:
                hint = "indent with spaces, not with tabs"
        self._report(line, column, f"not valid YAML: {error.problem or error.context}", hint)

    def _report_character(self, error: YAMLError) -> None:
        before = self.text[: max(getattr(error, "position", 0), 0)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        reason = getattr(error, "reason", "it cannot be read")
        self._report(line, column, f"not valid YAML: {reason}", "remove the control character")

    def _check_directives(self) -> None:
        """Refuse them before the library sees them: it fails on some and warns of others."""
        for number, line in enumerate(self.text.splitlines(), start=1):
            if line.startswith("%") and line.split("#")[0].rstrip() != "%YAML 1.2":
                self._report(
                    number, 1, "directives are not supported", "leave it out; YAML 1.2 is what is read"
                )
                raise _Stop
            if line.strip() and not line.lstrip().startswith(("#", "%")):
                break

    def _document(self, events: Iterator[Event]) -> Node | None:
        root = None
        documents = 0
        for event in events:
            match event:
                case DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        self._report_at(event, "a second document in one file", "write one workflow per file")
                        raise _Stop
                case StreamStartEvent() | DocumentEndEvent():
                    pass
                case StreamEndEvent():
                    if documents == 0:
                        self._report(
                            1, 1, "the document is empty", "a workflow has at least 'workflow' and 'steps'"
                        )
                case _:
                    root = self._node(event, events, 0)
        return root

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        node = Node(None, event.start_mark.line + 1, event.start_mark.column + 1)
        if depth > MAX_DEPTH:
            self._report(node.line, node.column, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
            raise _Stop
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._report(
                node.line, node.column, f"more than {MAX_NODES} keys and values", "keep data out of it"
            )
            raise _Stop
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            self._report(
                node.line, node.column, "anchors and aliases are not supported", "write the value out"
            )
            node.bad = True
        match event:
            case ScalarEvent():
                self._scalar(event, node)
            case SequenceStartEvent():
                self._check_tag(event, node, "seq")
                self._list(node, events, depth)
            case MappingStartEvent():
                self._check_tag(event, node, "map")
                self._map(node, events, depth)
        return node

    def _list(self, node: Node, events: Iterator[Event], depth: int) -> None:
        node.items = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            node.items.append(self._node(event, events, depth + 1))
        node.data = [item.data for item in node.items]

    def _map(self, node: Node, events: Iterator[Event], depth: int) -> None:
        node.entries = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if value.data is None and not value.raw:
                value.line, value.column = key.line, key.column  # nothing is written: the key is the place
            if self._is_key(key, node.entries):
                node.entries[key.data] = (key, value)
        node.data = {name: value.data for name, (_, value) in node.entries.items()}

    def _is_key(self, key: Node, entries: dict[str, tuple[Node, Node]]) -> bool:
        """Whether the key can stand in the map; says so when it cannot."""
        if key.bad:
            return False
        if not isinstance(key.data, str):
            self._report(key.line, key.column, "a key must be text", 'put it in quotes: "1": …')
        elif key.raw == "<<":
            self._report(key.line, key.column, "merge keys are not supported", "write the values out")
        elif key.data in entries:
            first = entries[key.data][0].line
            self._report(
                key.line, key.column, f"'{key.data}' is here twice, first on line {first}", "keep one"
            )
        else:
            return True
        return False

    def _check_tag(
        self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent, node: Node, *plain: str
    ) -> bool:
        """Whether the node has no tag, or one that says what it is anyway; says so when not."""
        tag = event.tag
        if tag is None or tag == "!" or tag.removeprefix(_CORE) in plain:
            return True
        self._report(
            node.line, node.column, f"the tag '{tag.removeprefix(_CORE)}' is not supported", "leave it out"
        )
        node.bad = True
        return False

    def _scalar(self, event: ScalarEvent, node: Node) -> None:
        text = event.value
        node.raw = self.text[event.start_mark.index : event.end_mark.index]
        if not self._check_tag(event, node, "str"):
            return
        if event.style is not None or event.tag is not None:
            node.data = text
        else:
            self._plain(text, node)
        if isinstance(node.data, str) and _SURROGATE.search(node.data):
            self._join_surrogates(node)

    def _join_surrogates(self, node: Node) -> None:
        """Make characters of the pairs that JSON writes for those beyond 16 bits; refuse a half one."""
        try:
            node.data = node.data.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._report(
                node.line, node.column, "half of a surrogate pair is no character", "write the character"
            )
            node.data = ""
            node.bad = True

    def _plain(self, text: str, node: Node) -> None:
        """What an unquoted scalar means in the core schema of YAML 1.2 (section 10.3)."""
        if text in _NULL:
            node.data = None
        elif text in _BOOL:
            node.data = _BOOL[text]
        elif len(text) > _MAX_DIGITS and (_INT.fullmatch(text) or _FLOAT.fullmatch(text)):
            self._bad_number(node, "a number this long is not supported")
        elif _INT.fullmatch(text):
            node.data = int(text, 0) if text[1:2] in ("o", "x") else int(text)
        elif _NOT_FINITE.fullmatch(text):
            self._bad_number(node, f"{text} is not a number that JSON can hold")
        elif _FLOAT.fullmatch(text):
            node.data = float(text)
            if node.data in (float("inf"), float("-inf")):
                self._bad_number(node, f"{text} is too large a number")
        else:
            node.data = text

    def _bad_number(self, node: Node, message: str) -> None:
        self._report(node.line, node.column, message, "if it is meant as text, put it in quotes")
        node.data = None
        node.bad = True


def _raw_offset(raw: str, offset: int) -> int:
    """Where character `offset` of a one-line scalar stands in its notation."""
    if raw.startswith("'"):
        position = 1
        for _ in range(offset):
            position += 2 if raw.startswith("''", position) else 1
        return position
    if raw.startswith('"'):
        position = 1
        for _ in range(offset):
            position += _escape_length(raw, position)
        return position
    return offset


def _escape_length(raw: str, position: int) -> int:
    """How many characters stand for one in a double-quoted scalar."""
    if raw[position : position + 1] != "\\":
        return 1
    return {"x": 4, "u": 6, "U": 10}.get(raw[position + 1 : position + 2], 2)
