"""What a process prints about itself."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from runtime.logs import set_up_logging
from schemas.errors import InvalidInput


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Give back the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)


def output(environ: dict[str, str]) -> list[str]:
    """The lines printed for one record of each kind."""
    stream = io.StringIO()
    set_up_logging(environ, stream)
    logging.getLogger("orchestrator.x").info("moved %s", "on\nforged line")
    logging.getLogger("agents.x").debug("a detail")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    logging.getLogger("aiormq.connection").error("a traceback for each lost connection")
    return stream.getvalue().splitlines()


def test_people_get_one_line_for_each_record() -> None:
    """Our own from INFO up, libraries from WARNING up, no AMQP client; a message cannot forge a line."""
    ours, theirs = output({})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z INFO    orchestrator.x: moved on\\nforged line", ours)
    assert theirs.endswith("WARNING library: trouble")


def test_machines_get_json() -> None:
    """With `BATON_LOG=json` each line is an object with time, level, logger and message."""
    ours, theirs = (json.loads(line) for line in output({"BATON_LOG": "json"}))
    assert (ours["level"], ours["logger"], ours["message"]) == (
        "INFO",
        "orchestrator.x",
        "moved on\nforged line",
    )
    assert theirs["message"] == "trouble"


def test_the_level_is_for_our_own_parts() -> None:
    """DEBUG shows our details and not those of libraries; ERROR hides our INFO."""
    assert any("a detail" in line for line in output({"BATON_LOG_LEVEL": "debug"}))
    assert not any("chatter" in line for line in output({"BATON_LOG_LEVEL": "debug"}))
    assert len(output({"BATON_LOG_LEVEL": "ERROR"})) == 1


@pytest.mark.parametrize("style", ["plain", "json"])
def test_an_exception_is_shown_with_its_traceback(style: str) -> None:
    """A fault of our own is logged whole, in either style."""
    stream = io.StringIO()
    set_up_logging({"BATON_LOG": style}, stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("runtime").exception("it failed")
    assert "it failed" in stream.getvalue()
    assert "Traceback" in stream.getvalue()


@pytest.mark.parametrize("name", ["BATON_LOG", "BATON_LOG_LEVEL"])
def test_another_value_is_refused(name: str) -> None:
    """A value that is none of the choices is an error that lists them."""
    with pytest.raises(InvalidInput, match=name) as caught:
        set_up_logging({name: "loud"}, io.StringIO())
    assert " or " in caught.value.hint
