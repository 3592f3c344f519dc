"""What the processes log, as lines of the trace."""

import contextlib
import logging
from collections.abc import Callable, Iterator

__all__ = ["listening"]

_OURS = ("orchestrator", "agents", "runtime", "asyncio")


@contextlib.contextmanager
def listening(tell: Callable[[int, str], None]) -> Iterator[None]:
    """Have each line told, with its level, for as long as this lasts; and nowhere else."""
    handler = _Handler(tell)
    # OpenTelemetry complains of spans that end with their process.
    handlers = dict.fromkeys(_OURS, handler) | {"opentelemetry": logging.NullHandler()}
    loggers = [(logging.getLogger(name), one) for name, one in handlers.items()]
    before = [(logger.level, logger.propagate) for logger, _ in loggers]
    for logger, one in loggers:
        logger.addHandler(one)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for (logger, one), (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(one)
            logger.setLevel(level)
            logger.propagate = propagate


class _Handler(logging.Handler):
    def __init__(self, tell: Callable[[int, str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        self._tell(record.levelno, f"{record.name} {record.levelname} {text}")
