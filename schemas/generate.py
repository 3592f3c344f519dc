"""Write the schemas of all messages, and an AsyncAPI document of the bus, from the code.

`python -m schemas.generate` writes `schemas/json/*.schema.json` and `schemas/asyncapi.json`; with `--check`
it writes nothing and fails when a file differs from what it would write.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.asyncapi import asyncapi_document
from schemas.events import EXTENSION_PATTERN, MAX_ATTRIBUTE, OPTIONAL, REQUIRED
from schemas.messages import Command, Presence, Result
from schemas.scenario import ScenarioFile
from schemas.workflow import STEP_KINDS, Workflow

__all__ = ["differences", "main", "rendered"]

HERE: Final = Path(__file__).parent
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ALTERNATIVES: Final = {
    "Step": {
        "oneOf": [{"required": [kind]} for kind in STEP_KINDS],
        "dependentRequired": {"action": ["target"], "max_parallel": ["foreach"], "rollout": ["target"]},
    },
    "Trigger": {"oneOf": [{"required": [name]} for name in ("event", "schedule")]},
    "Selector": {"oneOf": [{"required": [name]} for name in ("pool", "labels")]},
}
"""What the structs of a workflow cannot say: which of their fields exclude and which need each other."""


def rendered() -> dict[str, str]:
    """Every generated file: its path below this package, and its text."""
    schemas: dict[str, dict[str, Any]] = {
        "command": _struct_schema(Command),
        "event": _event_schema(),
        "presence": _struct_schema(Presence),
        "result": _struct_schema(Result),
        "scenario": _struct_schema(ScenarioFile),
        "workflow": _workflow_schema(),
    }
    files = {
        f"json/{name}.schema.json": _text(
            {"$schema": DIALECT, "$id": f"urn:baton:schema:{name}:1", **schema},
        )
        for name, schema in schemas.items()
    }
    files["asyncapi.json"] = _text(asyncapi_document())
    return files


def differences(root: Path) -> list[str]:
    """The generated files below `root` that are missing, differ, or are no longer generated."""
    files = rendered()
    stale = {f"json/{path.name}" for path in (root / "json").glob("*")} - files.keys()
    return sorted(stale | {name for name, text in files.items() if _read(root / name) != text})


def main(arguments: Sequence[str], root: Path = HERE) -> int:
    """Write the files, or with `--check` only compare; the exit code is 1 when they differ, 2 for usage."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: python -m schemas.generate [--check]\n")
        return 2
    wrong = differences(root)
    for name in wrong:
        sys.stdout.write(f"{'differs' if arguments else 'written'}: schemas/{name}\n")
    if not arguments:
        _write(root, wrong)
    elif wrong:
        sys.stdout.write("run: python -m schemas.generate\n")
        return 1
    return 0


def _write(root: Path, names: Sequence[str]) -> None:
    """Bring files to what they should be, which for one no longer generated is absence."""
    files = rendered()
    for name in names:
        path = root / name
        if name in files:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _struct_schema(kind: type) -> dict[str, Any]:
    """A struct's schema with the struct itself at the top, not behind a reference."""
    schema = msgspec.json.schema(kind)
    definitions: dict[str, Any] = schema["$defs"]
    top = definitions.pop(kind.__name__)
    return {**top, "$defs": definitions} if definitions else top


def _workflow_schema() -> dict[str, Any]:
    """The document's schema, with what an editor can know of alternatives."""
    schema = _struct_schema(Workflow)
    for name, rules in _ALTERNATIVES.items():
        schema["$defs"][name] |= rules
    return schema


def _event_schema() -> dict[str, Any]:
    """CloudEvents' JSON format as `schemas.events` reads it: any further member is an extension."""
    text = {"type": "string", "maxLength": MAX_ATTRIBUTE}
    properties: dict[str, Any] = {"specversion": {"const": "1.0"}}
    properties |= {name: {**text, "minLength": 1} for name in REQUIRED}
    properties |= {name: {**text, "type": ["string", "null"]} for name in OPTIONAL}
    properties["time"]["format"] = "date-time"
    properties["data"] = {"description": "the event's own data: any JSON"}
    properties["data_base64"] = {"type": ["string", "null"], "contentEncoding": "base64"}
    return {
        "title": "Event",
        "description": "A CloudEvent 1.0 in its JSON format. (source, id) names it for good.",
        "type": "object",
        "properties": properties,
        "required": ["specversion", *REQUIRED],
        "additionalProperties": {
            "description": "an extension attribute",
            "type": ["string", "integer", "boolean", "null"],
            "maxLength": MAX_ATTRIBUTE,
        },
        "propertyNames": {"pattern": f"^({EXTENSION_PATTERN}|data_base64)$(?!\\n)"},
        "not": {"required": ["data", "data_base64"]},
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
