"""`/api/runs/{id}/…`: what a person can do to one run."""

from litestar import post
from litestar.params import FromPath, JSONBody
from msgspec import Struct

from orchestrator.api import steering
from orchestrator.api.parts import TheParts
from orchestrator.api.run_views import RunView, run_view
from orchestrator.api.steering import (
    ApproveRequest,
    CancelRequest,
    MoveRequest,
    ResolveRequest,
    RetryRequest,
    Said,
)

__all__ = ["HANDLERS"]


class Retried(Struct, frozen=True):
    """The run that tries again: the same, or a new one if that had ended."""

    id: str


@post(
    "/api/runs/{run_id:str}/cancel",
    operation_id="cancelRun",
    summary="Undo a run and end it",
    status_code=200,
)
async def cancel_run(
    parts: TheParts, run_id: FromPath[str], data: JSONBody[CancelRequest | None] = None
) -> RunView:
    """Answers with the run once that is stored; 409 when the run cannot be cancelled."""
    return run_view(await steering.cancel(parts, run_id, data or CancelRequest()))


@post(
    "/api/runs/{run_id:str}/pause",
    operation_id="pauseRun",
    summary="Let nothing new start, neither a step nor an undo",
    status_code=200,
)
async def pause_run(parts: TheParts, run_id: FromPath[str], data: JSONBody[Said | None] = None) -> RunView:
    """What is under way goes on. 409 when the run has ended or is paused."""
    return run_view(await steering.pause(parts, run_id, data or Said()))


@post(
    "/api/runs/{run_id:str}/resume",
    operation_id="resumeRun",
    summary="Let a paused run go on",
    status_code=200,
)
async def resume_run(parts: TheParts, run_id: FromPath[str], data: JSONBody[Said | None] = None) -> RunView:
    """409 when the run is not paused."""
    return run_view(await steering.resume(parts, run_id, data or Said()))


@post(
    "/api/runs/{run_id:str}/approve",
    operation_id="approveStep",
    summary="Approve or reject what an approve step asks",
    status_code=200,
)
async def approve_step(parts: TheParts, run_id: FromPath[str], data: JSONBody[ApproveRequest]) -> RunView:
    """409 when the step does not wait for an approval, or `who` is none of those it asks."""
    return run_view(await steering.approve(parts, run_id, data))


@post(
    "/api/runs/{run_id:str}/resolve", operation_id="resolveStep", summary="Decide for a step", status_code=200
)
async def resolve_step(parts: TheParts, run_id: FromPath[str], data: JSONBody[ResolveRequest]) -> RunView:
    """Answers with the run once the decision is stored; 409 when the step does not wait for one."""
    return run_view(await steering.resolve(parts, run_id, data))


@post(
    "/api/runs/{run_id:str}/retry",
    operation_id="retryRun",
    summary="Make waiting attempts now, or do a step and what depends on it again",
    status_code=200,
)
async def retry_run(parts: TheParts, run_id: FromPath[str], data: JSONBody[RetryRequest]) -> Retried:
    """Of a run that has ended a new one is made, which keeps the results of other steps; 409 says why not."""
    return Retried(await steering.retry(parts, run_id, data))


@post(
    "/api/runs/{run_id:str}/move",
    operation_id="moveRun",
    summary="Let a live run keep to another version of its workflow",
    status_code=200,
)
async def move_run(parts: TheParts, run_id: FromPath[str], data: JSONBody[MoveRequest]) -> RunView:
    """409 when a step that has begun is changed or gone in that version."""
    return run_view(await steering.move(parts, run_id, data))


HANDLERS = (cancel_run, pause_run, resume_run, approve_step, resolve_step, retry_run, move_run)
