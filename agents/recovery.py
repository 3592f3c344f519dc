"""What a restart makes of the journal.

Each state has one honest continuation (rule 7):

- `finished`: the result is published again; whoever had it already drops it.
- `started`: a non-idempotent action was lost. It is never rerun. Its probe is asked whether it took effect;
  without one nobody knows: `unknown`.
- `received`, not idempotent: it certainly did not start. It is run now, or refused as `expired`.
- `received`, idempotent: it may have run. It is run (again) as long as its attempt could still be running;
  past that it is `unknown`, because to call it expired would deny an effect that it may have had.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agents.answers import Outcome, answer
from agents.intake import Workshop, lacks_secret, rejected
from agents.jobs import Job
from agents.journal import Unsettled
from agents.probes import Lost, lost_outcome
from schemas.codec import Malformed, decode
from schemas.messages import Command
from schemas.times import Micros, to_datetime

__all__ = ["Recovered", "recover"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """What to do. Results are `(command id, shard, body)`; the `finished` are still to be journaled.

    So are the `lost`, which nobody knows the end of. `left`: commands whose processes may still be running.
    """

    jobs: list[Job] = field(default_factory=list)
    probes: list[Lost] = field(default_factory=list)
    finished: list[tuple[str, str, bytes]] = field(default_factory=list)
    lost: list[tuple[str, str, bytes]] = field(default_factory=list)
    unpublished: list[tuple[str, str, bytes]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def recover(rows: list[Unsettled], workshop: Workshop, now: datetime) -> Recovered:
    """Sort what is unsettled in the journal by what is to be done about it."""
    plan = Recovered()
    for row in rows:
        if row.result is not None:
            plan.unpublished.append((row.id, row.reply_to, row.result))
            continue
        assert row.command is not None  # noqa: S101 - the schema: no result, so the command is kept
        try:
            command = decode(row.command, Command)
        except Malformed as error:  # it was readable once; another version wrote it
            log.warning("the journal has a command %s that cannot be read: %s", row.id, error.message)
            continue
        plan.left.append(row.id)
        if row.started_at is not None:
            _started(plan, row, command, row.started_at, workshop, now)
            continue
        made = _taken_before(command, row.traceparent, workshop, now)
        if isinstance(made, Job):
            plan.jobs.append(made)
        else:
            body = answer(workshop.identity, command, made._replace(finished_at=now))
            plan.finished.append((row.id, row.reply_to, body))
    return plan


def _started(
    plan: Recovered, row: Unsettled, command: Command, started_at: Micros, workshop: Workshop, now: datetime
) -> None:
    lost = workshop.lost(command, row.traceparent, started_at)
    if lost is not None:
        plan.probes.append(lost)
        return
    outcome = lost_outcome(to_datetime(started_at))._replace(finished_at=now)
    plan.lost.append((row.id, row.reply_to, answer(workshop.identity, command, outcome)))


def _taken_before(command: Command, traceparent: str, workshop: Workshop, now: datetime) -> Job | Outcome:
    made = workshop.prepare(command, traceparent)
    if lacks_secret(made) and workshop.may_have_begun(command):
        return lost_outcome(None)  # the secret was there before
    if isinstance(made, Outcome):
        return made  # the agent came back without the action
    if not made.idempotent:
        return (
            made if now <= command.expires_at else rejected("expired", "the agent was down", retryable=True)
        )
    if now <= command.expires_at + timedelta(seconds=command.timeout):
        return made
    return lost_outcome(None)
