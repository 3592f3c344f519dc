"""What the settings refuse of a document when it is applied; `baton check` knows no settings."""

from orchestrator.core.definition import Definition, StepDef
from orchestrator.settings import Settings
from schemas.errors import InvalidInput
from schemas.times import Micros, format_duration, parse_duration

__all__ = ["check_limits"]

_DAY = 86_400_000_000


def check_limits(definition: Definition, settings: Settings) -> None:
    """Raise `InvalidInput`, whose hint names the setting, when the document asks for more than is allowed."""
    _check(
        len(definition.steps) > settings.max_steps,
        "too_many_steps",
        f"workflow '{definition.name}' has {len(definition.steps)} steps, more than {settings.max_steps}",
        "let it start other workflows for parts of it, or raise the setting max_steps",
    )
    longest, most = definition.longest_expression, settings.max_expression
    _check(
        longest > most,
        "expression_too_long",
        f"workflow '{definition.name}' has an expression of {longest} characters, more than {most}",
        "give a step an output and use that, or raise the setting max_expression",
    )
    cost, most = definition.highest_cost, settings.max_expression_cost
    _check(
        cost > most,
        "expression_too_costly",
        f"workflow '{definition.name}' has an expression that costs {cost}, more than {most}",
        "let steps give parts of it, or raise the setting max_expression_cost",
    )
    for step in definition.steps.values():
        wait = _longest_wait(step)
        _check(
            wait > settings.max_wait_days * _DAY,
            "wait_too_long",
            f"step '{step.id}' waits for {format_duration(wait)}, more than {settings.max_wait_days}d",
            "give it a shorter time, or raise the setting max_wait_days",
        )


def _check(wrong: bool, code: str, message: str, hint: str) -> None:  # noqa: FBT001
    if wrong:
        raise InvalidInput(message, code=code, hint=hint)


def _longest_wait(step: StepDef) -> Micros:
    """How long the step waits, as far as the document says."""
    if step.wait is not None:
        return step.wait.timeout
    if step.approval is not None:
        return step.approval.timeout
    if step.sleep is None or not step.sleep.is_constant:
        return 0
    return parse_duration(str(step.sleep.render({})))
