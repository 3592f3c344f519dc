"""The generated schemas and the AsyncAPI document: true to the code, and valid by their own standards."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

import schemas
from orchestrator.topology import coordinator_declarations
from schemas.generate import differences, main, rendered
from schemas.names import Topology

ROOT = Path(schemas.__file__).parent
NAMES = ("command", "event", "presence", "result", "scenario", "workflow")
OFFICIAL = json.loads((Path(__file__).parents[2] / "data" / "asyncapi-3.0.0.schema.json").read_text())


def generated(name: str) -> Any:
    """A generated document, as the repository has it."""
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def test_files_are_what_the_code_says() -> None:
    """The files in the repository are what the code generates today."""
    assert differences(ROOT) == [], "run: python -m schemas.generate"


def test_writing_is_deterministic_and_ends_lines() -> None:
    """Generating twice gives the same bytes, each file ends with one newline."""
    assert rendered() == rendered()
    assert all(text.endswith("}\n") for text in rendered().values())


def test_check_fails_when_files_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` names what is missing, changed or left over, changes nothing, and passes after a write."""
    assert main(["--check"], tmp_path) == 1
    assert not list(tmp_path.iterdir())
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    capsys.readouterr()

    (tmp_path / "json" / "gone.schema.json").write_text("{}")
    (tmp_path / "json" / "event.schema.json").write_text("{}")
    (tmp_path / "asyncapi.json").unlink()
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().out
    assert all(name in said for name in ("json/gone.schema.json", "json/event.schema.json", "asyncapi.json"))

    assert main([], tmp_path) == 0
    assert differences(tmp_path) == []
    assert not (tmp_path / "json" / "gone.schema.json").exists()


def test_wrong_usage_is_two(tmp_path: Path) -> None:
    """An unknown argument is a usage error and writes nothing."""
    assert main(["--chekc"], tmp_path) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_valid_json_schema(name: str) -> None:
    """Each schema passes the metaschema of its dialect, and says what it is and which it is."""
    schema = generated(f"json/{name}.schema.json")
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == f"urn:baton:schema:{name}:1"
    assert schema["title"]
    assert schema["description"]


def test_metaschema_would_notice() -> None:
    """The check above is a real one: a schema with a wrong keyword does not pass."""
    with pytest.raises(Exception, match="is not valid"):
        Draft202012Validator.check_schema({**generated("json/event.schema.json"), "type": "objekt"})


def asyncapi_errors(document: Any) -> list[str]:
    """What the official schema has against an AsyncAPI document."""
    return [error.message for error in Draft7Validator(OFFICIAL).iter_errors(document)]


def test_asyncapi_is_valid() -> None:
    """The document passes the official JSON Schema of AsyncAPI 3.0.0."""
    assert asyncapi_errors(generated("asyncapi.json")) == []


@pytest.mark.parametrize(
    "path",
    [
        ("channels", "events", "bindings", "amqp", "exchange", "type"),
        ("operations", "publishEvent", "action"),
        ("components", "messages", "event"),
        ("info", "title"),
    ],
)
def test_asyncapi_validation_would_notice(path: tuple[str, ...]) -> None:
    """A wrong value anywhere makes the validation fail."""
    document = copy.deepcopy(generated("asyncapi.json"))
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = 5
    assert asyncapi_errors(document)


def references(value: Any) -> list[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [ref for part in value.values() for ref in references(part)]
    return [ref for part in value for ref in references(part)] if isinstance(value, list) else []


def test_asyncapi_references_resolve() -> None:
    """Every reference leads to something: a channel, a message, or a schema file beside the document."""
    document = generated("asyncapi.json")
    for reference in references(document):
        file, _, pointer = reference.partition("#/")
        place = document
        for part in pointer.split("/") if pointer else ():
            place = place[part]
        assert not file or (ROOT / file).is_file(), reference
    assert len(references(document)) > len(document["channels"])


def test_asyncapi_says_what_the_coordinator_declares() -> None:
    """Exchanges, queues, their arguments and bindings in the document are the coordinator's own."""
    shard = "0"
    declared = coordinator_declarations(Topology(), shard)
    amqp = [channel["bindings"]["amqp"] for channel in generated("asyncapi.json")["channels"].values()]
    exchanges = {(a["exchange"]["name"], a["exchange"]["type"]) for a in amqp if a["is"] == "routingKey"}
    assert exchanges == {(exchange.name, exchange.kind) for exchange in declared.exchanges}

    queues = {a["queue"]["name"].replace("{shard}", shard): a for a in amqp if a["is"] == "queue"}
    for queue in declared.queues:
        assert queues[queue.name]["x-arguments"] == queue.arguments
    for binding in declared.bindings:
        bound = queues[binding.queue]["x-bound-to"]
        assert bound["exchange"] == binding.exchange
        assert bound["routingKey"].replace("{shard}", shard) == binding.key


def document(**fields: Any) -> dict[str, Any]:
    """A workflow document with one step of these fields."""
    return {"workflow": "w", "steps": [{"id": "a", **fields}]}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (document(action="x", target="h"), True),
        (document(sleep="5m"), True),
        (document(approve={}), True),
        (document(action="x", target={"labels": {"a": "b"}, "all": True}, rollout={"batch": "25%"}), True),
        (document(), False),
        (document(sleep="5m", emit={"type": "t"}), False),
        (document(action="x"), False),
        (document(sleep="5m", max_parallel=3), False),
        (document(action="x", target={}), False),
        (document(action="x", target={"pool": "p", "labels": {"a": "b"}}), False),
        (document(sleep="5m") | {"triggers": [{"schedule": {"cron": "0 3 * * *"}}]}, True),
        (document(sleep="5m") | {"triggers": [{"key": "event.id"}]}, False),
        (document(sleep="5m") | {"triggers": [{"event": "e", "schedule": {"cron": "0 3 * * *"}}]}, False),
    ],
)
def test_the_workflow_schema_knows_alternatives(value: Any, good: bool) -> None:  # noqa: FBT001
    """An editor is told that a step is one thing, and which fields exclude or need each other."""
    schema = generated("json/workflow.schema.json")
    assert Draft202012Validator(schema).is_valid(value) is good
