"""Taking the values of secrets out of what an action gives, before anybody else gets to see it.

A value is known again as it is, and as JSON, Python, URLs and base64 write it. What an action makes of it in
other ways (turned around, hashed, cut in pieces) is not; nor are values of fewer than `MIN_CHARS` characters,
which would be found everywhere.
"""

import base64
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

import msgspec

from agents.processes import printable
from schemas.codec import decode, encode

__all__ = ["HIDDEN", "MIN_CHARS", "PLAIN", "HidingFormatter", "Redactor"]

HIDDEN: Final = "***"
MIN_CHARS: Final = 4
"""Shorter values stay visible."""

_MIN_LINE: Final = 8
"""Lines of a value of several lines, such as a key's, are hidden by themselves from this length on."""
_CUT_FROM: Final = 1000
"""Text of at least so many characters may be the beginning or the end of a longer one."""


class Redactor:
    """Hides the values of some secrets. One without any gives everything back as it is, at no cost."""

    __slots__ = ("_forms",)

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values if len(value) >= MIN_CHARS for form in _forms(value)}
        self._forms = tuple(forms)

    def text(self, text: str) -> str:
        """`text` with `***` for each value in it.

        Also for the rest of one at either end of a long text, which may have been cut there.
        """
        if not self._forms:
            return text
        shown, at = [], 0
        for start, end in sorted(self._found(text)):
            if end > at:
                shown += [text[at:start], HIDDEN] if start >= at else []
                at = end
        return "".join([*shown, text[at:]])

    def value(self, value: Any) -> Any:
        """JSON data without the values, also in keys and numbers. `Malformed` if it is none, or too deep."""
        if not self._forms or value is None:
            return value
        return msgspec.Raw(encode(self._walk(decode(encode(value), Any))))

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self._walk(item) for key, item in value.items()}
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value if (shown := self.text(str(value))) == str(value) else shown
        return value

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """From where to where something must be hidden; places may overlap."""
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + len(form))
        if len(text) >= _CUT_FROM:
            begin = len(text) - len(text.lstrip("\ufffd"))  # of a character that was cut through
            yield from ((begin, begin + length) for length in self._tails(text, begin))
            yield from ((len(text) - length, len(text)) for length in self._heads(text))

    def _tails(self, text: str, begin: int) -> Iterator[int]:
        """How much of each value's end the text begins with."""
        first = text[begin : begin + MIN_CHARS]
        for form in self._forms:
            at = form.find(first, 1)
            while at >= 0 and not text.startswith(form[at:], begin):
                at = form.find(first, at + 1)
            if at >= 0:
                yield len(form) - at

    def _heads(self, text: str) -> Iterator[int]:
        """How much of each value's beginning the text ends with."""
        last = text[-MIN_CHARS:]
        for form in self._forms:
            at = form.rfind(last, 0, len(form) - 1)
            while at >= 0 and not text.endswith(form[: at + MIN_CHARS]):
                at = form.rfind(last, 0, at + MIN_CHARS - 1)
            if at >= 0:
                yield at + MIN_CHARS


PLAIN: Final = Redactor()
"""Hides nothing: for commands without secrets."""


class HidingFormatter(logging.Formatter):
    """What another formatter makes of a record, as `hide` leaves it: for the log of the agent itself."""

    def __init__(self, inner: logging.Formatter | None, hide: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()
        self._hide = hide

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        return self._hide(self._inner.format(record))


def _forms(value: str) -> Iterator[str]:
    """The ways in which a value may be written."""
    lines = [line for line in value.splitlines() if len(line) >= _MIN_LINE]
    for text in (value, *lines):
        yield text
        yield printable(text)
        yield json.dumps(text)[1:-1]
        yield encode(text).decode()[1:-1]
        yield repr(text)[1:-1]
        yield quote(text)
        yield quote(text, safe="")
        yield quote_plus(text)
    for written in (base64.b64encode(value.encode()), base64.urlsafe_b64encode(value.encode())):
        yield written.decode().rstrip("=")
