"""What runs on a managed host: the agent, its journal, its built-ins, and the SDK for one's own actions."""

from agents.context import Context
from agents.sdk import ActionError, Agent, Probed

__all__ = ["ActionError", "Agent", "Context", "Probed"]
