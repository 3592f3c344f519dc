"""The actions that every agent has."""

from agents.builtins import archive, exec_run, files, http
from agents.sdk import Action

__all__ = ["builtin_actions"]


def builtin_actions() -> dict[str, Action]:
    """All of them by name."""
    return {
        name: action
        for module in (archive, exec_run, files, http)
        for name, action in module.agent.actions.items()
    }
