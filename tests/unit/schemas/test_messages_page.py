"""docs/messages.md is true: its examples are read by the code, and its tables have the code's own words."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct

import schemas
from schemas import events
from schemas.codec import decode
from schemas.messages import Command, CommandKind, Presence, Result, ResultStatus, command_id
from schemas.names import REASON_HEADER, Topology

ROOT = Path(schemas.__file__).parents[1]
PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json (\w+)\n(.*?)```", PAGE, re.DOTALL)
STRUCTS: dict[str, type[Struct]] = {"command": Command, "presence": Presence, "result": Result}


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_examples_are_valid(name: str, text: str) -> None:
    """Each example passes its schema and is read by the code, with no field that the code does not know."""
    schema = json.loads((ROOT / "schemas" / "json" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads(text))
    if name == "event":
        assert events.read_event(text.encode(), events.CONTENT_TYPE, {}).id
    else:
        message = decode(text.encode(), STRUCTS[name])
        assert set(json.loads(text)) <= set(type(message).__struct_fields__)


def test_every_kind_of_message_has_an_example() -> None:
    """No kind of message is left without an example, and command ids look as they are made."""
    assert {name for name, _ in EXAMPLES} == {"command", "event", "presence", "result"}
    assert command_id("01jgx3", "switch", 0, 1, CommandKind.EXECUTE) in PAGE


@pytest.mark.parametrize("status", ResultStatus)
def test_every_status_is_explained(status: ResultStatus) -> None:
    """Each status of a result has its row."""
    assert f"| `{status}` |" in PAGE


def test_every_refusal_is_explained() -> None:
    """Each code with which an event is refused has its row, and no other has."""
    listed = re.search(r"Codes: `([a-z_ \n]+)`", events.read_event.__doc__ or "")
    assert listed is not None
    table = PAGE.partition("| code | what was wrong |")[2].partition("\n\n")[0]
    assert re.findall(r"\| `(\w+)` \|", table) == listed[1].split()


def test_names_are_the_topologys() -> None:
    """Exchanges, queues and routing keys are spelled as the code makes them."""
    names = Topology()
    for name in (
        names.events,
        names.commands,
        names.results,
        names.lifecycle,
        names.dead,
        names.events_inbox,
        names.presence,
        names.results_queue("<shard>"),
        names.expired_queue("<shard>"),
        names.agent_queue("<name>"),
        names.pool_queue("<pool>"),
        names.agent_key("<name>"),
        names.pool_key("<pool>"),
        names.result_key("<shard>", "<agent>"),
        names.presence_key("<agent>"),
        REASON_HEADER,
    ):
        assert f"`{name}`" in PAGE, name
