"""What an agent would say of a command."""

from typing import Any

from schemas.messages import Command, Result, ResultStatus

__all__ = ["result_of"]


def result_of(command: Command, status: ResultStatus, agent: str, **fields: Any) -> Result:
    """A result that belongs to `command`; `fields` are the rest of it."""
    return Result(
        command_id=command.id,
        run_id=command.run_id,
        step=command.step,
        host_index=command.host_index,
        attempt=command.attempt,
        epoch=command.epoch,
        agent=agent,
        instance_id="i-1",
        status=status,
        **fields,
    )
