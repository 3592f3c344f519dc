"""Templates: values with expressions in their strings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.expressions import ExpressionError
from orchestrator.core.templates import Template
from schemas.secrets import SecretName, SecretRef
from schemas.workflow import MAX_EXPRESSION

pytestmark = pytest.mark.unit

SCOPE = frozenset({"event", "input", "steps", "run"})
DATA: dict[str, Any] = {
    "event": {"data": {"n": 3, "f": 1.5, "b": True, "s": "x ${{ 1 }}", "l": [1], "m": {"a": 1}, "z": None}},
    "input": {},
    "steps": {},
    "run": {},
}

LONG = "${{ " + " " * MAX_EXPRESSION + " }}x"


def render(value: Any) -> Any:
    """The template `value` over `DATA`."""
    return Template.compile(value, SCOPE).render(DATA)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${{ event.data.n }}", 3),
        ("  ${{ event.data.l }} \n", [1]),
        ("${{event.data.z}}", None),
        ("v${{ event.data.n }}", "v3"),
        ("${{ event.data.f }}/${{ event.data.b }}/${{ 3.0 }}", "1.5/true/3.0"),
        ("${{ event.data.s }}", "x ${{ 1 }}"),
        ("<${{ event.data.s }}>", "<x ${{ 1 }}>"),
        ('${{ {"a": {"b": 1}} }}', {"a": {"b": 1}}),
        ('${{ {"a": {"b": 1}}}}', {"a": {"b": 1}}),
        ("${{ '}}' }}!", "}}!"),
        ("${{ event.data.n // three }}", 3),
        ("$${{ event.data.n }}", "${{ event.data.n }}"),
        ("$${{ a }} ${{ event.data.n }}", "${{ a }} 3"),
        ("$ {{ x }} $x }}", "$ {{ x }} $x }}"),
        ("", ""),
        ({"a": ["x", {"b": "${{ event.data.n }}"}], "c": None}, {"a": ["x", {"b": 3}], "c": None}),
        ({"a": ["$${{ x }}"]}, {"a": ["${{ x }}"]}),
        (5, 5),
        (None, None),
    ],
)
def test_rendering(template: Any, value: Any) -> None:
    """One expression alone gives its value, others text; what an expression gives is not looked at again."""
    result = render(template)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(("field", "kind"), [("l", "a list"), ("m", "a map"), ("z", "null")])
def test_only_simple_values_stand_in_text(field: str, kind: str) -> None:
    """A list, a map or null in the middle of text is an error, not some notation of it."""
    with pytest.raises(ExpressionError, match=f"gives {kind}, which cannot stand inside text"):
        render(f"x ${{{{ event.data.{field} }}}}")


def test_constants_cost_nothing() -> None:
    """A template without expressions gives the very value it was made of."""
    value = {"a": [1, {"b": "text"}]}
    template = Template.compile(value, SCOPE)
    assert template.is_constant
    assert template.render({}) is value
    mixed = Template.compile({"same": value, "other": "${{ event.data.n }}"}, SCOPE)
    assert not mixed.is_constant
    assert mixed.render(DATA)["same"] is value


@pytest.mark.parametrize("text", ["${{", "x ${{ a", "${{ a }", '${{ "}}" ', "${{ {} }", LONG])
def test_unclosed(text: str) -> None:
    """An expression that is not closed, or not within the longest allowed, is an error where it opens."""
    with pytest.raises(ExpressionError) as caught:
        Template.compile({"k": [text]}, SCOPE)
    (fault,) = caught.value.faults
    assert fault.message == "'${{' is not closed within 2000 characters"
    assert (fault.path, fault.offset) == (("k", 0), text.index("${{"))


def test_all_faults_with_their_places() -> None:
    """Every fault of every string is listed, with the path in the value and the offset in the string."""
    with pytest.raises(ExpressionError) as caught:
        Template.compile({"a": "x ${{ nope }} ${{ 1 + }}", "b": ["${{ ok }}"], "${{ c }}": 1}, SCOPE)
    places = [(fault.path, fault.offset) for fault in caught.value.faults]
    assert places == [(("a",), 6), (("a",), 22), (("b", 0), 4), (("${{ c }}",), 0)]


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("${{ 1 }}" * 1001, "more than 1000 expressions in one template"),
        ("${{ a }}" * 500, "unknown name 'a'"),
    ],
)
def test_many_expressions(text: str, last: str) -> None:
    """Neither a flood of expressions nor one of mistakes makes for long work or a long answer."""
    with pytest.raises(ExpressionError) as caught:
        Template.compile(text, SCOPE)
    assert len(caught.value.faults) <= 100
    assert caught.value.faults[-1].message.startswith(last)


def test_mentions() -> None:
    """The steps a template reads are known, each with its place."""
    template = Template.compile({"a": ["v ${{ steps.x.output }}", '${{ steps["y"].status }}']}, SCOPE)
    assert template.references == {"x", "y"}
    assert [(path, mention.step, mention.offset) for path, mention in template.mentions] == [
        (("a", 0), "x", 6),
        (("a", 1), "y", 4),
    ]


def test_depth_is_limited() -> None:
    """What a template gives stays shallow enough for a message: constants, expressions and both together."""
    deep: Any = "x"
    for _ in range(61):
        deep = [deep]
    with pytest.raises(ExpressionError, match="nested deeper"):
        Template.compile(deep, SCOPE)
    inner: Any = 1
    for _ in range(40):
        inner = [inner]
    outer: Any = "${{ input.a }}"
    for _ in range(30):
        outer = [outer]
    with pytest.raises(ExpressionError, match="nested deeper"):
        Template.compile(outer, SCOPE).render({"input": {"a": inner}})


def test_render_text() -> None:
    """A name must come out as text that is not empty."""
    assert Template.compile("web-${{ event.data.n }}", SCOPE).render_text(DATA) == "web-3"
    for template in ("${{ event.data.n }}", "${{ '' }}", "${{ event.data.z }}"):
        with pytest.raises(ExpressionError, match="where a name is needed"):
            Template.compile(template, SCOPE).render_text(DATA)


@given(st.text("${} \"'a1\\/", max_size=40))
def test_any_text_compiles_or_says_why(text: str) -> None:
    """No text makes the compiler fail in another way; without an opening the text is itself."""
    try:
        template: Template | None = Template.compile(text, frozenset())
    except ExpressionError as error:
        offsets = [fault.offset for fault in error.faults]
        template = None
    else:
        offsets = []
    assert all(0 <= offset <= len(text) for offset in offsets)
    if template is not None and "${{" not in text:
        assert template.render({}) == text


def test_a_secret_is_a_reference_beside_the_value() -> None:
    """In its place is null; what belongs there is told apart, with the rest of its text already made."""
    given = {
        "alone": ' ${{ secret("db-password") }} ',
        "in": [1, {"text": "Bearer ${{ secret('token') }} for ${{ event.data.n }}$${{"}],
        "plain": "${{ event.data.n }}",
    }
    template = Template.compile(given, SCOPE, secrets=True)
    assert not template.is_constant
    assert template.render(DATA) == {"alone": None, "in": [1, {"text": None}], "plain": 3}
    assert template.secrets(DATA) == [
        SecretRef(["alone"], [SecretName("db-password")]),
        SecretRef(["in", 1, "text"], ["Bearer ", SecretName("token"), " for ", "3", "${{"]),
    ]


def test_data_asks_for_no_secret() -> None:
    """What an expression gives is plain data, whatever it looks like; so is a template without secrets."""
    wanted = {"$secret": "x", "y": "${{ secret('x') }}", "path": ["a"], "parts": [{"name": "x"}]}
    data = {**DATA, "event": {"data": wanted}}
    template = Template.compile({"a": "${{ event.data }}", "b": None}, SCOPE, secrets=True)
    assert template.render(data) == {"a": wanted, "b": None}
    assert template.secrets(data) == []


@pytest.mark.parametrize(
    "source",
    [
        'secret("a") + "b"',
        "secret(input.name)",
        "secret()",
        "secret",
        'secret("a").size()',
        '[secret("a")]',
        'true ? secret("a") : ""',
        'secret("a" + "b")',
        'secret(r"a")',
        'input.secret("a") + secret("b")',
    ],
)
def test_a_secret_is_no_part_of_an_expression(source: str) -> None:
    """Only `secret("name")` by itself is one: nothing is computed with it, and its name is written out."""
    with pytest.raises(ExpressionError) as caught:
        Template.compile(f"${{{{ {source} }}}}", SCOPE, secrets=True)
    assert caught.value.message == "secret() has no place here"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a b", "x" * 64, "a\n"])
def test_a_secret_has_a_name_like_other_names(name: str) -> None:
    """So that it can be a file's; anything else is refused where it stands."""
    with pytest.raises(ExpressionError) as caught:
        Template.compile({"k": f'x ${{{{ secret("{name}") }}}}'}, SCOPE, secrets=True)
    (fault,) = caught.value.faults
    assert fault.path == ("k",)


def test_secrets_only_where_they_are_allowed() -> None:
    """Elsewhere the call is refused, with a word on where it goes."""
    with pytest.raises(ExpressionError, match=r"secret\(\) has no place here") as caught:
        Template.compile('${{ secret("a") }}', SCOPE)
    assert "with of an action" in caught.value.hint


def test_text_around_a_secret_may_fail() -> None:
    """As any other text does."""
    template = Template.compile('${{ secret("a") }} ${{ event.data.l }}', SCOPE, secrets=True)
    with pytest.raises(ExpressionError, match="gives a list"):
        template.secrets(DATA)
