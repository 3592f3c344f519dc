"""From a workflow document to a `Definition`."""

from hashlib import sha256

import msgspec

from orchestrator.core.compiler.checks import Checks, View
from orchestrator.core.compiler.order import order_of
from orchestrator.core.compiler.starting import compile_concurrency, compile_trigger
from orchestrator.core.compiler.steps import STEP_SCOPE, compile_step, output_template
from orchestrator.core.definition import Definition, InvalidDefinition, Problem
from orchestrator.core.input_schema import InputSchema, check_schema
from schemas.codec import MAX_MESSAGE_BYTES
from schemas.workflow import Workflow

__all__ = ["compile_definition"]


def compile_definition(document: Workflow) -> Definition:
    """Check and compile a document; raise `InvalidDefinition` with every problem that it has."""
    checks = Checks(document)
    content = msgspec.json.encode(document, order="sorted")
    if len(content) > MAX_MESSAGE_BYTES:
        size = f"{len(content)} bytes as JSON"
        checks.problem((), f"{size}, more than the limit of {MAX_MESSAGE_BYTES}", "keep data out of it")
    order = order_of(checks)
    triggers = tuple(
        compile_trigger(checks, trigger, ("triggers", i)) for i, trigger in enumerate(document.triggers)
    )
    checks.problems += [
        Problem(("input", *fault.path), fault.message, fault.hint) for fault in check_schema(document.input)
    ]
    steps = {
        step.id: compile_step(checks, document, index, order) for index, step in enumerate(document.steps)
    }
    output = output_template(checks, document.output, ("output",), View(STEP_SCOPE, frozenset(checks.ids)))
    timeout = checks.optional_limit(document.timeout, ("timeout",), "leave it out for no limit")
    concurrency = compile_concurrency(checks, document.concurrency)
    if checks.problems:
        raise InvalidDefinition(checks.problems)
    return Definition(
        document=document,
        version=_version(content),
        steps=steps,
        triggers=triggers,
        output=output,
        input_schema=InputSchema(document.input),
        timeout=timeout,
        concurrency=concurrency,
        pivot=next((step for step in steps.values() if step.pivot), None),
        longest_expression=max((len(each.source) for each in checks.expressions), default=0),
        highest_cost=max((each.cost.total for each in checks.expressions), default=0),
    )


def _version(content: bytes) -> str:
    """The hash of a document, given as JSON.

    What is the very default is left out of JSON, which msgspec tells by identity: a default that was written
    out is the very one only once it has been read as JSON.
    """
    try:
        said = msgspec.json.encode(msgspec.json.decode(content, type=Workflow), order="sorted")
    except msgspec.ValidationError:
        said = content  # its very shape is wrong: `document.shape` says so, and nobody runs it
    return sha256(said).hexdigest()
