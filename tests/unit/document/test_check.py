"""Every kind of mistake in a workflow document, at its exact line and column."""

import json
from pathlib import Path

import msgspec
import pytest

from orchestrator.core.compiler import compile_definition
from orchestrator.document import Diagnostic, InvalidDocument, check_circles, check_text, read_workflow
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
NAME = "use letters, digits, - _ and ., beginning with a letter"
FIELDS = "(hint: known here: workflow, steps, description, triggers, input, output, timeout, concurrency,"
FIELDS += " priority)"
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
    target = definition.steps["switch"].target
    assert target is not None
    assert target.kind == "pool"
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
    target: {labels: {a: b}, pool: p}
    action: x
    needs: [fetch, fetsh, b]
    on_failure: contineu
    retry: {attempts: 0, delay: 1m, max_delay: 1s, backoff: x}
    if: steps.c.output == 1
  - id: c
    emit: {type: x, data: "${{ item }}"}
    idempotent: yes
  - id: c
    action: x
    target: "we b"
    needs: [d]
  - {id: d, action: q, target: x, needs: [e], with: [1]}
  - {id: e, action: q, target: x, sleep: 5m, needs: [d], output: "${{ 1 + 'a' }}"}
  - foo
output: {v: "\\t\\"${{ secret('x') }}"}
"""


def test_everything_at_once() -> None:
    """One reading finds wrong shapes, circles, unknown steps, bad durations and bad CEL, in order."""
    known = "use letters, digits, - _ and ., beginning with a letter"
    names = "use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit"
    item = "not in its own 'if' and 'foreach'"
    secret = '${{ secret("name") }}, alone or inside text, goes into the with of an action or of a compensate'
    types = "there are string, number, integer, boolean, object, array and null"
    assert lines(EVERYTHING) == [
        f"1:11: 'release web' is not a workflow's name (hint: {known})",
        "2:1: unknown field 'descripton' (hint: did you mean 'description'?)",
        "5:28: syntax error: unexpected '= '",
        "6:10: gives bool, not text (hint: turn it into text: string(event.data.order))",
        "7:27: unknown name 'evnt'; in scope here: event",
        "8:15: expected a map, got text '* * *' (hint: write {cron: …})",
        f"10:9: 'objekt' is not a type (hint: {types})",
        "14:13: expected text or a map, got the number 5 (hint: put it in quotes)",
        f"15:14: '5 minutes' is not a duration {DURATION}",
        "16:5: unknown field 'timout' (hint: did you mean 'timeout'?)",
        "18:33: syntax error: the expression ends too early",
        "21:19: unknown name 'nope'; in scope here: event, input, run, steps",
        "23:22: a target has a 'pool' or 'labels', not both (hint: keep one of them)",
        "25:20: unknown step 'fetsh' (hint: did you mean 'fetch'?)",
        "25:27: step 'b' needs itself (hint: leave it out)",
        "26:17: 'contineu' is not one of compensate, continue, pause (hint: did you mean 'continue'?)",
        "27:23: 0 is less than 1",
        "27:48: max_delay is shorter than delay (hint: make it as long or longer)",
        "27:61: expected a number, got text 'x'",
        "28:9: step 'c' need not have ended before 'b' (hint: add 'c' to the needs of 'b')",
        f"30:32: 'item' is known only in a step with foreach (hint: {item})",
        "31:17: expected true or false, got text 'yes' (hint: in YAML 1.2 'yes' is text)",
        "32:9: a second step with the id 'c' (hint: ids must differ)",
        f"34:13: 'we b' is not a valid agent name (hint: {names})",
        "36:42: steps need each other in a circle: d -> e -> d (hint: let one of them go first)",
        "36:53: expected a map, got a list",
        "37:42: a step does one thing: it has 'action' already (hint: make a step of its own of it)",
        "37:73: '+' does not apply to int and string",
        "38:5: expected a map, got text 'foo' (hint: write {id: …})",
        f"39:22: secret() has no place here (hint: {secret})",
    ]


WHOLE_LANGUAGE = """\
workflow: nightly
priority: 3
timeout: 6h
concurrency: {group: "nightly-${{ input.region }}", limit: 2, on_conflict: reject}
triggers:
  - schedule: {cron: "30 2 * * *", timezone: Europe/Berlin, missed: once}
    input: {region: eu}
  - event: com.example.nightly.*
    debounce: {wait: 10s, max: 1m}
    throttle: {limit: 2, per: 1h}
steps:
  - id: drain
    action: app.drain
    target: {labels: {role: web, region: "${{ input.region }}"}, all: true}
    rollout: {batch: 25%, pause: 30s, max_failures: 1}
    with: {name: "${{ host.name }}"}
    compensate: {action: app.fill, start_within: 5m, with: {was: "${{ host.output.was }}"}}
  - id: each
    foreach: steps.drain.hosts.map(name, name)
    max_parallel: 4
    workflow: backup-host
    with: {name: "${{ item }}"}
  - id: paid
    wait_for:
      event: com.example.invoice.paid
      correlate: {from: event.data.order, expect: input.order}
      if: event.data.amount > 0
      timeout: 2d
    on_failure: continue
  - id: ask
    approve: {by: [ann, bob], message: "Go on with ${{ input.region }}?", timeout: 1h, on_timeout: approve}
    on_failure: pause
  - {id: rest, sleep: "${{ input.pause }}"}
  - {id: tell, emit: {type: com.example.nightly.live, data: {}, subject: x}, pivot: true}
  - {id: tidy, action: app.tidy, target: {labels: {role: web}}, on_unknown: retry, priority: 9}
"""


def test_the_whole_language() -> None:
    """All that a document can say is accepted, and survives storing."""
    assert lines(WHOLE_LANGUAGE) == []
    definition = read_workflow(WHOLE_LANGUAGE, "f.yaml")
    assert [step.kind for step in definition.steps.values()] == [
        *("action", "workflow", "wait_for", "approve", "sleep", "emit", "action")
    ]
    stored = msgspec.json.encode(definition.document)
    assert compile_definition(msgspec.json.decode(stored, type=Workflow)).version == definition.version


NONE_OF = "the step does nothing: it must have one of action, workflow, wait_for, approve, sleep, emit"
THING = "workflow: w\nsteps:\n  - id: a\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("    with: {}\n", [f"3:5: {NONE_OF} (hint: add one)"]),
        ("    emitt: {type: x}\n", ["4:5: unknown field 'emitt' (hint: did you mean 'emit'?)"]),
        ("    emit: x\n", ["4:11: expected a map, got text 'x' (hint: write {type: …})"]),
        ("    emit: {typ: x}\n", ["4:12: unknown field 'typ' (hint: did you mean 'type'?)"]),
        (
            "    emit: {type: a b}\n",
            [f"4:18: 'a b' is not an event's type {EVENT.replace(' or com.example.*', '')}"],
        ),
        ("    sleep: 30\n", [f"4:12: expected text, got the number 30 {DURATION}"]),
        ("    sleep: soon\n", [f"4:12: 'soon' is not a duration {DURATION}"]),
        ("    sleep:\n", ["4:5: expected text, got nothing"]),
        ("    approve:\n", ["4:5: expected a map, got nothing (hint: write {})"]),
        ("    approve: {by: ann}\n", ["4:19: expected a list, got text 'ann'"]),
        (
            "    approve: {on_timeout: aprove}\n",
            ["4:27: 'aprove' is not one of approve, reject (hint: did you mean 'approve'?)"],
        ),
        ("    wait_for: {}\n", ["4:15: missing field 'event'"]),
        (
            "    wait_for: {event: e, correlate: event.id}\n",
            ["4:37: expected a map, got text 'event.id' (hint: write {from: …, expect: …})"],
        ),
        ("    wait_for: {event: e, correlate: {from: event.id}}\n", ["4:37: missing field 'expect'"]),
        ("    workflow: a b\n", [f"4:15: 'a b' is not a workflow's name (hint: {NAME})"]),
        (
            "    sleep: 5m\n    on_failure: [pause]\n",
            ["5:17: expected one of compensate, continue, pause, got a list"],
        ),
        ("    sleep: 5m\n    priority: 10\n", ["5:15: 10 is more than 9"]),
        ("    sleep: 5m\n    pivot: 1\n", ["5:12: expected true or false, got the number 1"]),
        (
            "    sleep: 5m\n    emit: {type: t}\n",
            ["5:11: a step does one thing: it has 'sleep' already (hint: make a step of its own of it)"],
        ),
        ("    sleep: 5m\n    max_parallel: 0\n    foreach: '[1]'\n", ["5:19: 0 is less than 1"]),
        (
            "    sleep: 5m\n    foreach: 3\n    max_parallel: 2\n",
            ["5:14: expected text, got the number 3 (hint: put it in quotes)"],
        ),
        (
            "    sleep: 5m\n    foreach: '3'\n",
            ["5:14: gives a number, not list (hint: give it a list: input.hosts)"],
        ),
        (
            "    action: x\n",
            ["3:5: missing field 'target' (hint: name an agent, {pool: …} or {labels: {…}})"],
        ),
        (
            "    action: x\n    target: {pool: p, labels: {a: b}}\n",
            ["5:31: a target has a 'pool' or 'labels', not both (hint: keep one of them)"],
        ),
        (
            "    action: x\n    target: {}\n",
            ["5:13: a target has a 'pool' or 'labels' (hint: add one of them)"],
        ),
        ("    action: x\n    target: {labels: {}}\n", ["5:22: expected at least 1 entry, got none"]),
        (
            "    action: x\n    target: {labels: {a: 1}}\n",
            ["5:26: expected text, got the number 1 (hint: put it in quotes)"],
        ),
        ("    action: x\n    target: {labels: web}\n", ["5:22: expected a map, got text 'web'"]),
        (
            "    action: x\n    target: {labels: {a: b}, all: true}\n    rollout: {batch: 101%}\n",
            ["6:22: '101%' is not a part in percent (hint: write 1% to 100%, or a number of hosts)"],
        ),
        (
            "    action: x\n    target: {labels: {a: b}, all: true}\n    rollout: {batch: 0}\n",
            ["6:22: 0 is less than 1"],
        ),
        (
            "    sleep: 5m\ntriggers: [{key: event.id}]\n",
            ["5:12: a trigger has an 'event' or a 'schedule' (hint: add one of them)"],
        ),
        (
            "    sleep: 5m\ntriggers: [{schedule: '0 3 * * *'}]\n",
            ["5:23: expected a map, got text '0 3 * * *' (hint: write {cron: …})"],
        ),
        (
            "    sleep: 5m\ntriggers: [{schedule: {cron: 0 0 30 2 *}}]\n",
            ["5:30: '0 0 30 2 *' never fires (hint: no month has such a day)"],
        ),
        ("    sleep: 5m\nconcurrency: {limit: 2}\n", ["5:14: missing field 'group'"]),
        (
            "    sleep: 5m\nconcurrency: {group: g, on_conflict: wait}\n",
            ["5:38: 'wait' is not one of cancel_running, queue, reject"],
        ),
        ("    sleep: 5m\npriority: low\n", ["5:11: expected a whole number, got text 'low'"]),
    ],
)
def test_alternatives(fields: str, expected: list[str]) -> None:
    """One mistake is told once: what is wrong, or misspelled, is not missing besides."""
    assert lines(THING + fields) == expected


def test_limits_say_what_to_do() -> None:
    """Too many steps and too long an expression name the limit and the way out."""
    steps = "".join(f"  - {{id: s{i}, sleep: 1s}}\n" for i in range(1001))
    (line,) = lines(f"workflow: w\nsteps:\n{steps}")
    split = "(hint: split it: a step can start another workflow, by workflow: NAME)"
    assert line == f"3:3: 1001 entries, more than the limit of 1000 {split}"
    long = "a" * 2001
    way_out = "(hint: split it: give a step an output and use that)"
    assert lines(f"{THING}    sleep: 1s\n    if: {long}\n") == [f"5:9: longer than 2000 characters {way_out}"]


def test_circles_between_documents() -> None:
    """Documents that are good alone, and start each other, are told of where the first starts the next."""
    documents = []
    for one, other in (("a", "b"), ("b", "c"), ("c", "b")):
        text = f"workflow: {one}\nsteps:\n  - {{id: s, sleep: 1s}}\n  - id: t\n    workflow: {other}\n"
        documents.append((text, f"{one}.yaml", read_workflow(text, one)))
    (circle,) = check_circles(documents)
    way_out = "(hint: it would never end; let one of them not start another)"
    assert str(circle) == f"b.yaml:5:15: workflows start each other in a circle: b -> c -> b {way_out}"
    assert check_circles(documents[:2]) == []


def test_rule_12_a_child_in_its_parents_group_is_told_of() -> None:
    """It would wait for its parent, which waits for it; the place is the step that leads there."""
    documents = []
    for name, steps in (
        ("a", "{id: s, workflow: b}"),
        ("b", "{id: s, action: x.y, target: h}"),
    ):
        text = f"workflow: {name}\nconcurrency: {{group: g}}\nsteps: [{steps}]\n"
        documents.append((text, f"{name}.yaml", read_workflow(text, name)))
    (found,) = check_circles(documents)
    assert (found.file, found.line) == ("a.yaml", 3)
    assert "concurrency group: a -> b" in found.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workflow: w\n", ["1:1: missing field 'steps'"]),
        ("workflow: w\nsteps:\n", ["2:1: expected a list, got nothing"]),
        ("workflow: w\nsteps: []\n", ["2:8: expected at least 1 entry, got none"]),
        ("workflow: w\nsteps: {a: 1}\n", ["2:8: expected a list, got a map"]),
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
        (
            STEP + "    compensate: undo\n",
            ["6:17: expected a map, got text 'undo' (hint: write {action: …})"],
        ),
        (
            STEP + "    compensate: {actoin: x}\n",
            ["6:18: unknown field 'actoin' (hint: did you mean 'action'?)"],
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
