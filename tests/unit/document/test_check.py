"""Every kind of mistake in a workflow document, at its exact line and column."""

import json
from pathlib import Path

import msgspec
import pytest

from orchestrator.core.compiler import compile_definition
from orchestrator.document import Diagnostic, InvalidDocument, check_text, read_workflow
from schemas.workflow import Workflow

pytestmark = pytest.mark.unit

GOOD = """\
workflow: release-web
description: Roll a new release out.
triggers:
  - event: com.example.release.*
    if: event.data.channel == "stable"
    key: event.data.version
    input: {version: "${{ event.data.version }}", url: "${{ event.data.url }}"}
input:
  type: object
  required: [version, url]
steps:
  - id: fetch
    action: http.download
    target: web-1
    with: {url: "${{ input.url }}", to: "/srv/app/${{ input.version }}.tar.gz"}
    compensate: {action: file.remove, with: {path: "${{ steps.fetch.output.path }}"}}
  - id: switch
    action: app.switch
    target: {pool: web}
    timeout: 2m
    retry: {attempts: 3, delay: 1s, backoff: 2, max_delay: 30s}
    idempotent: true
  - id: announce
    needs: [switch]
    if: input.channel != "dev"
    action: http.request
    target: web-1
output: {version: "${{ input.version }}"}
"""

DURATION = "(hint: write a whole number and a unit: 500ms, 30s, 5m, 2h, 1d)"
STEP_ID = "(hint: use letters, digits, - and _, beginning with a letter; 63 at most)"
EVENT = "(hint: for example com.example.order.placed or com.example.*)"
FIELDS = "(hint: known here: workflow, steps, description, triggers, input, output)"
CLOSE = "(hint: close it with '}}', or write '$${{' for the text)"
FOO = "unknown name 'foo'; in scope here: event, input, run, steps"

STEP = "workflow: w\nsteps:\n  - id: a\n    action: x\n    target: h\n"


def lines(text: str) -> list[str]:
    """The diagnostics of `text` as `line:column: message (hint: …)`."""
    return [str(one).removeprefix("f.yaml:") for one in check_text(text, "f.yaml")]


def test_good_document() -> None:
    """A good document has nothing wrong and becomes a definition."""
    assert check_text(GOOD, "f.yaml") == []
    definition = read_workflow(GOOD, "f.yaml")
    assert list(definition.steps) == ["fetch", "switch", "announce"]
    assert definition.steps["switch"].target.kind == "pool"
    assert definition.triggers[0].matches("com.example.release.published")


def test_bytes_and_marks() -> None:
    """Bytes are UTF-8, with or without a mark of the byte order, with any line ends."""
    for raw in (GOOD.encode(), b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode()):
        assert read_workflow(raw, "f.yaml").version == read_workflow(GOOD, "f.yaml").version


def test_document_survives_storing() -> None:
    """What is stored as JSON compiles to the same version again."""
    definition = read_workflow(GOOD, "f.yaml")
    stored = msgspec.json.encode(definition.document)
    assert compile_definition(msgspec.json.decode(stored, type=Workflow)).version == definition.version


EVERYTHING = """\
workflow: release web
descripton: x
triggers:
  - event: com.example.*
    if: event.data.channel = "stable"
    key: 'event.data.a == ''x'''
    input: {version: "${{ evnt.data.version }}"}
  - schedule: "* * *"
input:
  type: objekt
steps:
  - id: fetch
    action: http.download
    target: 5
    timeout: 5 minutes
    timout: 3s
    with:
      url: 'it''s ${{ input.x + }}'
      to: |
        line one
          and ${{ nope }} here
  - id: b
    target: {labels: {a: b}, all: true}
    action: x
    needs: [fetch, fetsh, b]
    pivot: true
    retry: {attempts: 0, delay: 1m, max_delay: 1s, backoff: x}
    if: steps.c.output == 1
  - id: c
    emit: {type: x}
    idempotent: yes
  - id: c
    action: x
    target: "we b"
    needs: [d]
  - {id: d, action: q, target: x, needs: [e], with: [1]}
  - {id: e, action: q, target: x, needs: [d], output: "${{ 1 + 'a' }}"}
  - foo
output: {v: "\\t\\"${{ secret('x') }}"}
"""


def test_everything_at_once() -> None:
    """One reading finds wrong shapes, circles, unknown steps, bad durations and bad CEL, in order."""
    known = "use letters, digits, - _ and ., beginning with a letter"
    names = "use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit"
    types = "there are string, number, integer, boolean, object, array and null"
    assert lines(EVERYTHING) == [
        f"1:11: 'release web' is not a workflow's name (hint: {known})",
        "2:1: unknown field 'descripton' (hint: did you mean 'description'?)",
        "5:28: syntax error: unexpected '= '",
        "6:10: gives bool, not text (hint: turn it into text: string(event.data.order))",
        "7:27: unknown name 'evnt'; in scope here: event",
        "8:5: unknown field 'schedule': not supported by this version",
        f"10:9: 'objekt' is not a type (hint: {types})",
        "14:13: expected text or a map, got the number 5 (hint: put it in quotes)",
        f"15:14: '5 minutes' is not a duration {DURATION}",
        "16:5: unknown field 'timout' (hint: did you mean 'timeout'?)",
        "18:33: syntax error: the expression ends too early",
        "21:19: unknown name 'nope'; in scope here: event, input, run, steps",
        "23:14: unknown field 'labels': not supported by this version",
        "23:30: unknown field 'all': not supported by this version",
        "25:20: unknown step 'fetsh' (hint: did you mean 'fetch'?)",
        "25:27: step 'b' needs itself",
        "26:5: unknown field 'pivot': not supported by this version",
        "27:23: 0 is less than 1",
        "27:48: max_delay is shorter than delay (hint: make it as long or longer)",
        "27:61: expected a number, got text 'x'",
        "28:9: step 'c' need not have ended before 'b' (hint: add 'c' to the needs of 'b')",
        "30:5: unknown field 'emit': not supported by this version",
        "31:17: expected true or false, got text 'yes' (hint: in YAML 1.2 'yes' is text)",
        "32:9: a second step with the id 'c' (hint: ids must differ)",
        f"34:13: 'we b' is not a valid agent name (hint: {names})",
        "36:42: steps need each other in a circle: d -> e -> d",
        "36:53: expected a map, got a list",
        "37:62: '+' does not apply to int and string",
        "38:5: expected a map, got text 'foo'",
        "39:22: secret() is not supported by this version",
    ]


@pytest.mark.parametrize(
    ("field", "where"),
    [
        ("foreach: input.l", "step"),
        ("max_parallel: 3", "step"),
        ("rollout: {batch: 1}", "step"),
        ("pivot: true", "step"),
        ("wait_for: {event: x}", "step"),
        ("approve: {}", "step"),
        ("sleep: 5m", "step"),
        ("emit: {type: x}", "step"),
        ("workflow: other", "step"),
        ("on_failure: continue", "step"),
        ("on_unknown: ask", "step"),
        ("priority: 1", "step"),
        ("start_within: 1m", "step"),
        ("concurrency: {limit: 1}", "workflow"),
        ("timeout: 1h", "workflow"),
        ("priority: 3", "workflow"),
    ],
)
def test_what_comes_later(field: str, where: str) -> None:
    """What a later version will know is refused as unknown, never ignored, and named as not supported yet."""
    name = field.partition(":")[0]
    text = f"{STEP}    {field}\n" if where == "step" else f"{STEP}{field}\n"
    column = 5 if where == "step" else 1
    assert lines(text) == [f"6:{column}: unknown field '{name}': not supported by this version"]


def test_a_step_that_does_something_else() -> None:
    """A step of a kind that is not supported yet is one mistake, not three."""
    text = STEP + "  - id: b\n    sleep: 5m\n"
    assert lines(text) == ["7:5: unknown field 'sleep': not supported by this version"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workflow: w\n", ["1:1: missing field 'steps'"]),
        ("workflow: w\nsteps:\n", ["2:1: expected a list, got nothing"]),
        ("workflow: w\nsteps: []\n", ["2:8: expected at least 1 entry, got none"]),
        ("workflow: w\nsteps: {a: 1}\n", ["2:8: expected a list, got a map"]),
        ("workflow: w\nsteps:\n  - id: a\n", ["3:5: missing field 'action'", "3:5: missing field 'target'"]),
        (STEP + "    timeout: 30\n", [f"6:14: expected a duration, got the number 30 {DURATION}"]),
        (STEP + "    with:\n", ["6:5: expected a map, got nothing"]),
        (STEP + "    needs: b\n", ["6:12: expected a list, got text 'b'"]),
        (
            STEP + "    needs: [b, 3]\n",
            ["6:13: unknown step 'b'", f"6:16: expected a step's id, got the number 3 {STEP_ID}"],
        ),
        (STEP + "    idempotent: 1\n", ["6:17: expected true or false, got the number 1"]),
        (STEP + "    retry: {attempts: 1.5}\n", ["6:23: expected a whole number, got the number 1.5"]),
        (STEP + "    retry: {attempts: true}\n", ["6:23: expected a whole number, got true"]),
        (STEP + "    retry: {backoff: 101}\n", ["6:22: 101 is more than 100"]),
        (STEP + "    if: ''\n", ["6:9: must not be empty"]),
        (STEP + "    if: true\n", ["6:9: expected text, got true (hint: put it in quotes)"]),
        (STEP + "    compensate: undo\n", ["6:17: expected a map, got text 'undo'"]),
        (
            STEP + "    compensate: {actoin: x}\n",
            ["6:17: missing field 'action'", "6:18: unknown field 'actoin' (hint: did you mean 'action'?)"],
        ),
        (STEP + "    target: x\n", ["6:5: 'target' is here twice, first on line 5 (hint: keep one)"]),
        (STEP + "triggers: [{event: 'a b'}]\n", [f"6:20: 'a b' is not an event's type {EVENT}"]),
        (STEP + "zzz: 1\n", [f"6:1: unknown field 'zzz' {FIELDS}"]),
        (STEP + "output: ${{ foo }}\n", [f"6:13: {FOO}"]),
        (STEP + "output: x ${{ foo\n", ["6:11: '${{' is not closed within 2000 characters " + CLOSE]),
        (STEP + "output: >\n  folded ${{ foo }}\n", [f"6:9: {FOO}"]),
        (STEP + 'output: [a,\n  "é\\u00e9\\t${{ foo }}"]\n', [f"7:17: {FOO}"]),
        (STEP + "output: |2+\n\n    ${{ foo }}\n", [f"8:9: {FOO}"]),
        (STEP + 'output: "a\n  ${{ foo }}"\n', [f"6:9: {FOO}"]),
    ],
)
def test_shapes(text: str, expected: list[str]) -> None:
    """Each misfit says what was expected and what is there, at the key or the value concerned."""
    assert lines(text) == expected


def test_wrong_needs_do_not_cause_more_errors() -> None:
    """While a step's `needs` is wrong, what would only follow from it is not reported."""
    text = STEP + "  - {id: b, action: x, target: h, needs: a, with: {x: '${{ steps.a.output }}'}}\n"
    assert lines(text) == ["6:42: expected a list, got text 'a'"]


def test_wrong_ids_do_not_cause_more_errors() -> None:
    """A step that is called by its wrong id is found all the same."""
    text = "workflow: w\nsteps:\n  - {id: 1a, action: x, target: h, output: '${{ steps[\"1a\"].output }}'}\n"
    assert [line.partition(" (")[0] for line in lines(text)] == ["3:10: '1a' is not a step's id"]


def test_diagnostic_as_json() -> None:
    """A diagnostic has one JSON form, with its path through the data."""
    (one,) = check_text(STEP + "    timeout: 0s\n", "dir/f.yaml")
    assert isinstance(one, Diagnostic)
    assert json.loads(json.dumps(one.as_json())) == {
        "file": "dir/f.yaml",
        "line": 6,
        "column": 14,
        "message": "a timeout of 0 leaves no time at all",
        "hint": "leave it out for 10m",
        "path": ["steps", 0, "timeout"],
    }


def test_read_workflow_raises_with_everything() -> None:
    """Reading a bad document raises one error that holds every diagnostic."""
    with pytest.raises(InvalidDocument) as caught:
        read_workflow(EVERYTHING, "f.yaml")
    assert caught.value.code == "invalid_workflow"
    assert caught.value.message == "f.yaml:1:11: 'release web' is not a workflow's name (and 29 more)"
    assert len(caught.value.diagnostics) == len(caught.value.details) == 30


def test_the_examples_are_good() -> None:
    """Every workflow document that ships as an example has nothing wrong."""
    examples = Path(__file__).parents[3] / "examples"
    for file in sorted(examples.rglob("*.workflow.yaml")):
        assert check_text(file.read_bytes(), file.name) == []
