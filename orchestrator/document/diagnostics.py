"""What is wrong with a document, and where."""

from dataclasses import dataclass
from typing import Any

from orchestrator.core.definition import Path
from schemas.errors import InvalidInput

__all__ = ["Diagnostic", "InvalidDocument"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing wrong. `line` and `column` count characters from 1; `path` leads there through the data."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    path: Path = ()

    def __str__(self) -> str:
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"

    def as_json(self) -> dict[str, Any]:
        """The shape in the API and in `--json`: `{file, line, column, message, hint, path}`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
            "path": list(self.path),
        }


class InvalidDocument(InvalidInput):
    """A document that cannot be accepted. `diagnostics` holds everything found, in the order of the text."""

    code = "invalid_workflow"

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        first, more = diagnostics[0], len(diagnostics) - 1
        tail = f" (and {more} more)" if more else ""
        super().__init__(
            f"{first.file}:{first.line}:{first.column}: {first.message}{tail}",
            hint=first.hint,
            details=[diagnostic.as_json() for diagnostic in diagnostics],
        )
        self.diagnostics = diagnostics
