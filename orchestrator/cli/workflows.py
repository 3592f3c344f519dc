"""`baton check`, `baton apply` and `baton workflows …`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli.client import ApiClient, segment
from orchestrator.cli.output import json_text, moment, printable, say, show_json, show_table
from orchestrator.cli.remote import Remote, UsageError, remote_of
from orchestrator.cli.versions import register
from schemas.errors import BatonError

__all__ = ["apply", "check", "workflows"]

workflows = App(name="workflows", help="List, show and compare workflows.")
register(workflows)

Files = Annotated[list[Path], Parameter(negative="", help="workflow documents, YAML or JSON")]


def check(
    files: Files,
    /,
    *,
    live: Annotated[bool, Parameter(negative="", help="also ask the coordinator which agents are there")] = (
        False
    ),
    remote: Remote | None = None,
) -> int:
    """Find everything that is wrong with workflow documents; without --live nobody is asked."""
    from orchestrator.document import InvalidDocument, check_circles, check_live, read_workflow

    options = remote_of(remote)
    agents = _known_agents(options.client()) if live else []
    reports: list[dict[str, Any]] = []
    documents = []
    for path, text in _read_all(files):
        report: dict[str, Any] = {"file": str(path), "workflow": None, "version": None, "diagnostics": []}
        try:
            definition = read_workflow(text, str(path))
            report |= {"workflow": definition.name, "version": definition.version}
            documents.append((text, str(path), definition))
        except InvalidDocument as error:
            report["diagnostics"] = error.details
        reports.append(report)
    for circle in check_circles(documents):
        next(report for report in reports if report["file"] == circle.file)["diagnostics"].append(
            circle.as_json()
        )
    if live:
        for text, name, definition in documents:
            report = next(report for report in reports if report["file"] == name)
            report["live"] = [one.as_json() for one in check_live(text, name, definition, agents)]
    good = not any(_wrong(report) for report in reports)
    if options.json:
        show_json({"ok": good, "files": reports})
    else:
        for report in reports:
            _show_report(report)
    return 0 if good else 1


def _known_agents(client: ApiClient) -> list[Any]:
    """The agents that announced themselves, as `check_live` takes them."""
    from msgspec import ValidationError, convert

    from orchestrator.document import KnownAgent

    try:
        return convert(client.get("/api/agents")["items"], list[KnownAgent])
    except ValidationError as error:
        raise BatonError(
            f"the coordinator's list of agents cannot be read: {error}",
            code="bad_answer",
            hint="use the baton of the coordinator's version",
        ) from None


def _wrong(report: dict[str, Any]) -> bool:
    return bool(report["diagnostics"]) or any(one["level"] == "error" for one in report.get("live", ()))


def apply(files: Files, /, *, remote: Remote | None = None) -> int:
    """Store workflow documents for new runs to take. All are checked first: one bad one stores none."""
    options = remote_of(remote)
    client = options.client()
    texts = _read_all(files)
    wrong = [problem for path, text in texts for problem in _problems(client, path, text)] or _circles(texts)
    if wrong:
        if options.json:
            details = [detail for error in wrong for detail in error.details or []]
            message = "nothing was stored: " + "; ".join(error.message for error in wrong)
            show_json(
                {"error": {"code": "invalid_workflow", "message": message, "hint": "", "details": details}}
            )
        else:
            say("\n".join([*(_lines(error) for error in wrong), "nothing was stored"]))
        return 1
    answers = [_put(client, path, text, dry_run=False) for path, text in texts]
    if options.json:
        show_json({"items": answers, "next": None})
    else:
        for answer in answers:
            change = "applied" if answer["changed"] else "unchanged"
            say(f"{answer['workflow']}: {change}, version {answer['version'][:12]}")
    return 0


@workflows.command(name="list")
def list_workflows(*, remote: Remote | None = None) -> None:
    """Workflows and the versions that new runs take."""
    options = remote_of(remote)
    page = options.client().get("/api/workflows")
    if options.json:
        show_json(page)
        return
    rows = ((one["workflow"], one["version"][:12], moment(one["applied_at"])) for one in page["items"])
    show_table(
        page["items"], rows, ("workflow", "version", "applied"), "no workflows: baton apply FILE stores one"
    )


@workflows.command(name="show")
def show_workflow(
    name: Annotated[str, Parameter(help="the workflow's name")],
    *,
    version: Annotated[str | None, Parameter(help="an earlier version, by the beginning of its hash")] = None,
    remote: Remote | None = None,
) -> None:
    """A workflow's document, as JSON, which is YAML too."""
    options = remote_of(remote)
    found = options.client().get(f"/api/workflows/{segment(name)}", version=version)
    if options.json:
        show_json(found)
    else:
        say(f"# version {found['version']}, applied {moment(found['applied_at'])}")
        say(printable(json_text(found["document"])))


def _read_all(files: list[Path]) -> list[tuple[Path, bytes]]:
    if not files:
        raise UsageError("name at least one file")
    try:
        return [(path, path.read_bytes()) for path in files]
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from None


def _problems(client: ApiClient, path: Path, text: bytes) -> list[BatonError]:
    """What the API has against a document; other trouble is raised."""
    try:
        _put(client, path, text, dry_run=True)
    except BatonError as error:
        if error.code not in ("invalid_workflow", "too_large"):
            raise
        return [error]
    return []


def _circles(texts: list[tuple[Path, bytes]]) -> list[BatonError]:
    """What is wrong with good documents together."""
    from orchestrator.document import InvalidDocument, check_circles, read_workflow

    found = check_circles([(text, str(path), read_workflow(text, str(path))) for path, text in texts])
    return [InvalidDocument(found)] if found else []


def _put(client: ApiClient, path: Path, text: bytes, *, dry_run: bool) -> Any:
    query = {"file": str(path), "dry_run": "true" if dry_run else None}
    return client.call("POST", "/api/workflows", body=text, content_type="application/yaml", query=query)


def _lines(error: BatonError) -> str:
    """An error of the API as `file:line:column` lines."""
    if not isinstance(error.details, list):
        return error.message
    return "\n".join(_line(found) for found in error.details)


def _line(found: dict[str, Any]) -> str:
    hint = f" (hint: {found['hint']})" if found["hint"] else ""
    level = f"{found['level']}: " if found.get("level", "error") != "error" else ""
    return printable(f"{found['file']}:{found['line']}:{found['column']}: {level}{found['message']}{hint}")


def _show_report(report: dict[str, Any]) -> None:
    if not _wrong(report):
        say(f"{report['file']}: ok, workflow {report['workflow']}, version {report['version'][:12]}")
    for found in (*report["diagnostics"], *report.get("live", ())):
        say(_line(found))
