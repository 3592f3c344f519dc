"""Logging set-up, the same in every process: lines for people, or JSON for machines."""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Final, TextIO

from schemas.errors import InvalidInput

__all__ = ["set_up_logging"]

OURS: Final = ("agents", "orchestrator", "runtime", "schemas")
COVERED: Final = {"aio_pika": logging.CRITICAL, "aiormq": logging.CRITICAL, "asyncio": logging.ERROR}
"""What prints a traceback or several warnings for every lost connection; the bus says it in one line."""

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


def set_up_logging(environ: Mapping[str, str] = os.environ, stream: TextIO = sys.stderr) -> None:
    """Log to `stream` as `BATON_LOG` (`plain`, `json`) and `BATON_LOG_LEVEL` (default `INFO`) say.

    The level is for our own parts; libraries are heard from `WARNING` up. `InvalidInput` for another value.
    """
    formatters = {"plain": PlainFormatter(), "json": JsonFormatter()}
    style = _choice(environ, "BATON_LOG", "plain", tuple(formatters))
    level = _choice(environ, "BATON_LOG_LEVEL", "INFO", LEVELS)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatters[style])
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name, quiet in COVERED.items():
        logging.getLogger(name).setLevel(quiet)


def _choice(environ: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = environ.get(name) or default
    found = next((choice for choice in choices if choice.lower() == value.lower()), None)
    if found is None:
        raise InvalidInput(f"{name} is '{value}'", code="bad_setting", hint=f"use {' or '.join(choices)}")
    return found


def _time(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03}Z"


class PlainFormatter(logging.Formatter):
    """`time level logger: message`, on one line whatever a message from outside holds."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        message = "".join(c if c.isprintable() else repr(c)[1:-1] for c in record.getMessage())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        fields = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
