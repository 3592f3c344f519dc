"""Random JSON, and random workflow documents that fit the shapes of `schemas.workflow`."""

from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from schemas.workflow import (
    Approve,
    Compensate,
    Concurrency,
    Correlate,
    Debounce,
    Emit,
    Retry,
    Rollout,
    Schedule,
    Selector,
    Step,
    Throttle,
    Trigger,
    WaitFor,
    Workflow,
)

__all__ = ["objects", "texts", "values", "workflows"]

# What every JSON library agrees on: no lone surrogates, integers of 64 bits, finite fractions.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
step_ids = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,62}", fullmatch=True)
durations = st.from_regex(r"[0-9]{1,12}(ms|s|m|h|d)", fullmatch=True)

retries = st.builds(
    Retry, attempts=st.none() | st.integers(1, 1000), delay=st.none() | durations,
    backoff=st.none() | st.floats(1, 100), max_delay=st.none() | durations,
)  # fmt: skip
labels = st.dictionaries(texts, texts, min_size=1, max_size=3)
targets = st.one_of(
    st.text("abc${} .", min_size=1, max_size=20), st.builds(Selector, pool=ids),
    st.builds(Selector, labels=labels, all=st.booleans()),
)  # fmt: skip
actions = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,126}", fullmatch=True)
expressions = st.sampled_from(["event.id", "input.x", "steps.a.output", "[1, 2]", "true"]) | st.text(
    "abc.=' ", min_size=1, max_size=20
)
patterns = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,50}\*?", fullmatch=True) | st.just("*")
workflow_names = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", fullmatch=True)
compensations = st.builds(
    Compensate, action=actions, with_=objects, target=st.none() | targets, timeout=st.none() | durations,
    start_within=st.none() | durations, retry=st.none() | retries, idempotent=st.booleans(),
    after_failure=st.booleans(),
)  # fmt: skip
rollouts = st.builds(
    Rollout, batch=st.none() | st.integers(1, 10_000) | st.integers(1, 100).map("{}%".format),
    pause=st.none() | durations, max_failures=st.integers(0, 10_000),
)  # fmt: skip
correlations = st.builds(Correlate, from_=expressions, expect=expressions)
kinds = st.one_of(
    st.fixed_dictionaries({"action": actions, "target": targets, "rollout": st.none() | rollouts}),
    st.fixed_dictionaries({"workflow": workflow_names}),
    st.fixed_dictionaries({"wait_for": st.builds(
        WaitFor, event=patterns,
        correlate=st.none() | correlations, if_=st.none() | expressions, timeout=st.none() | durations,
    )}),
    st.fixed_dictionaries({"approve": st.builds(
        Approve, by=st.lists(ids, max_size=3), message=texts, timeout=st.none() | durations,
        on_timeout=st.sampled_from(["reject", "approve"]),
    )}),
    st.fixed_dictionaries({"sleep": durations | texts}),
    st.fixed_dictionaries({"emit": st.builds(Emit, type=actions, data=values, subject=texts)}),
)  # fmt: skip
loops: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}) | st.fixed_dictionaries(
    {"foreach": expressions, "max_parallel": st.none() | st.integers(1, 10_000)}
)
steps = st.builds(
    lambda kind, loop, **common: Step(**kind, **loop, **common), kinds, loops,
    id=step_ids, needs=st.none() | st.lists(step_ids, max_size=3), if_=st.none() | expressions,
    with_=objects, start_within=st.none() | durations, timeout=st.none() | durations,
    retry=st.none() | retries, idempotent=st.booleans(), compensate=st.none() | compensations,
    pivot=st.booleans(), on_failure=st.sampled_from(["compensate", "continue", "pause"]),
    on_unknown=st.sampled_from(["ask", "retry", "compensate"]), priority=st.none() | st.integers(0, 9),
    output=st.just(UNSET) | values,
)  # fmt: skip
starts = st.one_of(
    st.fixed_dictionaries({
        "event": patterns,
        "debounce": st.none() | st.builds(Debounce, wait=durations, max=st.none() | durations),
        "throttle": st.none() | st.builds(Throttle, limit=st.integers(1, 100_000), per=durations),
    }),
    st.fixed_dictionaries({"schedule": st.builds(
        Schedule, cron=st.text("0123 */", min_size=1), timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
        missed=st.sampled_from(["skip", "once"]),
    )}),
)  # fmt: skip
triggers = st.builds(
    lambda start, **common: Trigger(**start, **common), starts,
    if_=st.none() | expressions, key=st.none() | expressions, input=st.none() | objects,
)  # fmt: skip
groups = st.builds(
    Concurrency, group=st.text("abc${} .", min_size=1), limit=st.integers(1, 100_000),
    on_conflict=st.sampled_from(["queue", "reject", "cancel_running"]),
)  # fmt: skip
workflows = st.builds(
    Workflow, workflow=workflow_names,
    steps=st.lists(steps, min_size=1, max_size=3), description=texts, triggers=st.lists(triggers, max_size=2),
    input=objects, output=st.just(UNSET) | values, timeout=st.none() | durations,
    concurrency=st.none() | groups, priority=st.integers(0, 9),
)  # fmt: skip
