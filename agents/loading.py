"""Finding the actions an agent offers: built-ins, modules, programs."""

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from agents.builtins import builtin_actions
from agents.programs import program_action, program_probe
from agents.sdk import Action, Agent
from schemas.errors import BatonError, InvalidInput

__all__ = ["load_actions"]


def load_actions(
    modules: Iterable[Path], programs: Iterable[tuple[str, Path]], probes: Iterable[tuple[str, Path]] = ()
) -> dict[str, Action]:
    """All actions by name. A name given twice is refused, the built-ins' included.

    `probes` are programs too, each for an action among `programs`.
    """
    actions = builtin_actions()
    for module in modules:
        for name, action in _module_actions(module).items():
            _add(actions, name, action, str(module))
    by_program: dict[str, Action] = {}
    for name, path in programs:
        _check_program(name, path, "--program")
        by_program[name] = program_action(name, path.absolute())
        _add(actions, name, by_program[name], str(path))
    for name, path in probes:
        _check_program(name, path, "--probe")
        if name not in by_program:
            raise InvalidInput(
                f"--probe {name}: no --program is the action '{name}'",
                code="bad_program",
                hint=f"add --program {name}=PATH; an action in Python has its probe in its module",
            )
        by_program[name].probe(program_probe(path.absolute()))
    return actions


def _check_program(name: str, path: Path, flag: str) -> None:
    if not path.is_file() or not os.access(path, os.X_OK):
        raise InvalidInput(
            f"the program {path} of action '{name}' cannot be executed",
            code="bad_program",
            hint=f"give the path of an executable file: {flag} NAME=PATH",
        )


def _add(actions: dict[str, Action], name: str, action: Action, origin: str) -> None:
    if name in actions:
        raise InvalidInput(
            f"{origin} defines the action '{name}', which exists already",
            code="duplicate_action",
            hint="give it another name",
        )
    actions[name] = action


def _module_actions(path: Path) -> dict[str, Action]:
    """The actions of every `Agent` that a Python file defines."""
    spec = importlib.util.spec_from_file_location(f"baton_module_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InvalidInput(
            f"{path} is not a Python file",
            code="bad_module",
            hint="give a path that ends in .py: --module FILE.py",
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and type hints look themselves up
    sys.path.insert(0, str(path.parent.absolute()))  # so that it can import what lies beside it
    try:
        spec.loader.exec_module(module)
    except BatonError as error:
        raise InvalidInput(f"{path}: {error.message}", code=error.code, hint=error.hint) from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise InvalidInput(
            f"{path} cannot be loaded: {type(error).__name__}: {error} ({where.filename}:{where.lineno})",
            code="bad_module",
            hint="run it with python to see more",
        ) from None
    agents = {id(value): value for value in vars(module).values() if isinstance(value, Agent)}
    if not agents:
        raise InvalidInput(f"{path} defines no agent", code="bad_module", hint="write: agent = Agent()")
    actions: dict[str, Action] = {}
    for agent in agents.values():
        for name, action in agent.actions.items():
            _add(actions, name, action, str(path))
    return actions
