"""The pages are true: their links lead somewhere, their tables and examples are what the code does."""

import re
from pathlib import Path

import pytest
from msgspec import NODEFAULT, UNSET, Struct
from msgspec.structs import FieldInfo, fields

from orchestrator.document import InvalidDocument, check_text, read_workflow
from orchestrator.settings import Settings
from schemas import workflow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
WORKFLOWS = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"^```([\w ]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")
_WORDS = re.compile(r"`([^`]+)`")


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next of any level."""
    (found,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", page, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(text: str) -> dict[str, list[str]]:
    """The cells of the first table in a text, by the word in the first cell."""
    table = re.search(r"^\|.*?(?=^[^|]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    cells = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in table[0].splitlines()]
    return {row[0].strip("`* "): row[1:] for row in cells[2:]}


def anchor(title: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the repository names a file that is there, and a heading in it."""
    text = page.read_text(encoding="utf-8")
    for path, heading in _LINK.findall(text):
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {path}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {anchor(title) for title in titles}, f"{page.name}: {path}#{heading}"


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("The whole document", workflow.Workflow),
        ("Triggers", workflow.Trigger),
        ("Schedules", workflow.Schedule),
        ("Debounce", workflow.Debounce),
        ("Throttle", workflow.Throttle),
        ("Concurrency", workflow.Concurrency),
        ("Steps", workflow.Step),
        ("Targets", workflow.Selector),
        ("Rollout", workflow.Rollout),
        ("Waiting for an event", workflow.WaitFor),
        ("Approvals", workflow.Approve),
        ("Emitting events", workflow.Emit),
        ("Retry", workflow.Retry),
        ("Compensate", workflow.Compensate),
    ],
)
def test_every_field_of_the_language_is_described(title: str, kind: type[Struct]) -> None:
    """Each table has the fields of the code and no others, says which are needed, and plain defaults."""
    described = rows(section(WORKFLOWS, title))
    known = {field.encode_name: field for field in fields(kind)}
    assert described.keys() == known.keys()
    for name, field in known.items():
        assert ("**needed**" in described[name][0]) == field.required, name
        default = _plain_default(field)
        assert default is None or f"`{default}`" in described[name][0], name


def _plain_default(field: FieldInfo) -> str | None:
    """A default as the document would write it; None for one that only means absent."""
    if field.default_factory is not NODEFAULT:
        return str(field.default_factory())
    if field.default in (None, NODEFAULT, UNSET):
        return None
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return str(field.default) or '""'


@pytest.mark.parametrize(
    ("kind", "around"),
    [
        ("workflow", "{}"),
        ("steps", "workflow: w\nsteps:\n{}"),
        ("triggers", "workflow: w\nsteps: [{{id: a, sleep: 1s}}]\ntriggers:\n{}"),
    ],
)
def test_the_examples_of_the_page_are_good(kind: str, around: str) -> None:
    """Each document there is one, and so is each part of one, with the rest around it."""
    texts = [text for word, text in _BLOCK.findall(WORKFLOWS) if word == f"yaml {kind}"]
    assert texts
    for text in texts:
        assert check_text(around.format(text), "example") == []


def test_every_example_of_the_page_is_looked_at() -> None:
    """No YAML there is left out of the test above, but for the line that editors read."""
    kinds = [
        kind for kind, text in _BLOCK.findall(WORKFLOWS) if not text.startswith("# yaml-language-server")
    ]
    assert set(kinds) == {"yaml workflow", "yaml steps", "yaml triggers", "yaml wrong", "text"}


def test_the_mistakes_of_the_page_are_found_as_it_says() -> None:
    """`baton check` says of the wrong document what the page shows, word for word."""
    parts = _BLOCK.findall(WORKFLOWS)
    (place,) = [i for i, (kind, _) in enumerate(parts) if kind == "yaml wrong"]
    with pytest.raises(InvalidDocument) as caught:
        read_workflow(parts[place][1].encode(), "wrong.yaml")
    said = [str(diagnostic) for diagnostic in caught.value.diagnostics]
    assert said == parts[place + 1][1].splitlines()


def test_every_setting_is_described() -> None:
    """The table has each setting of the coordinator with its default."""
    described = rows(section(OPERATIONS, "Settings of the coordinator"))
    known = {field.name: field.default for field in fields(Settings)}
    assert described.keys() == known.keys()
    for name, default in known.items():
        text = f"{default:g}" if isinstance(default, float) else str(default)
        assert described[name][1] == (f"`{text}`" if text else "none"), name
