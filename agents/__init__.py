"""What runs on a managed host: the agent, its journal, its built-in actions, and the SDK for actions of one's own."""

from agents.context import Context
from agents.sdk import ActionError, Agent

__all__ = ["ActionError", "Agent", "Context"]
