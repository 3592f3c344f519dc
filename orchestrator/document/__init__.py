"""Reading workflow documents: YAML to a definition, or to all that is wrong, with file, line and column."""

from orchestrator.document.diagnostics import Diagnostic, InvalidDocument
from orchestrator.document.live import Finding, KnownAgent, check_live
from orchestrator.document.reading import check_circles, check_text, read_workflow

__all__ = [
    "Diagnostic",
    "Finding",
    "InvalidDocument",
    "KnownAgent",
    "check_circles",
    "check_live",
    "check_text",
    "read_workflow",
]
