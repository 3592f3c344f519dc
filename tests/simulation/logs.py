"""What the processes log, as lines of the trace."""

import contextlib
import logging
from collections.abc import Callable, Iterator

__all__ = ["hushed", "listening"]

_OURS = ("orchestrator", "agents", "runtime", "asyncio")


@contextlib.contextmanager
def listening(tell: Callable[[int, str], None]) -> Iterator[None]:
    """Have each line told, with its level, for as long as this lasts; and nowhere else."""
    handler = _Handler(tell)
    loggers = [logging.getLogger(name) for name in _OURS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Have OpenTelemetry not complain of spans that end with their process."""
    logger = logging.getLogger("opentelemetry.context")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class _Handler(logging.Handler):
    def __init__(self, tell: Callable[[int, str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        self._tell(record.levelno, f"{record.name} {record.levelname} {text}")
