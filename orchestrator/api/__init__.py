"""The HTTP API: what it shows comes from a reader, what it changes goes through the coordinator's loop."""

from orchestrator.api.application import create_api
from orchestrator.api.parts import Parts

__all__ = ["Parts", "create_api"]
