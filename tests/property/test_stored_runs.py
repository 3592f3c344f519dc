"""Whatever a run or a fact holds, it comes back from its stored form equal."""

from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.facts import Fact
from orchestrator.core.model import Run
from orchestrator.store import rows
from schemas.messages import ErrorInfo

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
TIMES = st.integers(-(2**62), 2**62)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    Any: JSON,
    str: TEXT,
    int: TIMES,
    bool: st.booleans(),
    ErrorInfo: st.builds(
        ErrorInfo, code=TEXT.filter(bool), message=TEXT, retryable=st.booleans(), details=JSON
    ),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values for a field of a struct; a field that is added later is tried too, or fails here by its type."""
    options = [option for option in get_args(kind) if option is not type(None)]
    if kind in BY_TYPE:
        found = BY_TYPE[kind]
    elif isinstance(kind, UnionType):
        found = st.none() | st.one_of(*map(values, options))
    elif get_origin(kind) is list:
        found = st.lists(values(options[0]), max_size=3)
    elif get_origin(kind) is tuple:
        some = st.lists(values(options[0]), max_size=3).map(tuple)
        found = some if ... in options else st.tuples(*map(values, options))
    elif get_origin(kind) is dict:
        found = st.dictionaries(TEXT, values(options[1]), max_size=3)
    elif issubclass(kind, Enum):
        found = st.sampled_from(kind)
    else:
        found = structs(kind)
    return found


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Structs of a kind, every field filled."""
    return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})


@given(structs(Run))
def test_a_run_comes_back(run: Run) -> None:
    """Head and state together are the run; the state alone does not repeat the head."""
    _, head = rows.head_row(7, run)
    *_, state = rows.run_row(7, run)
    assert rows.run_of(head, state) == run
    assert "head" not in msgspec.json.decode(state)


@given(st.one_of(*(structs(kind) for kind in get_args(Fact))))
def test_a_fact_comes_back(fact: Fact) -> None:
    """Every kind of fact, with any payload."""
    *_, at, kind, payload = rows.fact_row(1, "0", "r1", 1, fact)
    assert rows.fact_of(payload) == fact
    assert (at, kind) == (fact.at, msgspec.json.decode(payload)["fact"])
