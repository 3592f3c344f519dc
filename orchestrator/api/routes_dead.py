"""`/api/dead`: messages that nobody could handle."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from orchestrator.api.parts import TheParts
from orchestrator.deadletters import DeadLetter, DeadLetterList, Replayed

__all__ = ["HANDLERS"]


class ReplayRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters to send again: these ids, or all that are looked at."""

    ids: Annotated[list[str], Meta(max_length=1_000)] = []
    all: bool = False


@get("/api/dead", operation_id="listDead", summary="Dead letters, oldest first, with the reason of each")
async def list_dead(parts: TheParts, preview: FromQuery[bool] = False) -> DeadLetterList:  # noqa: FBT002
    """Looks at no more than `looked_at` letters and says in `more` whether there may be others.

    `preview=true` shows the beginning of each body too.
    """
    return await parts.dead.letters(preview=preview)


@get(
    "/api/dead/{letter_id:str}",
    operation_id="showDead",
    summary="One dead letter with the beginning of its body",
)
async def show_dead(parts: TheParts, letter_id: FromPath[str]) -> DeadLetter:
    """The preview is text; bytes that are none are replaced."""
    return await parts.dead.letter(letter_id)


@post(
    "/api/dead/replay",
    operation_id="replayDead",
    summary="Send dead letters to where they first went",
    status_code=200,
)
async def replay_dead(parts: TheParts, data: JSONBody[ReplayRequest]) -> Replayed:
    """A letter leaves the dead ones only once the broker has confirmed that a queue took it again."""
    return await parts.dead.replay(data.ids, everything=data.all)


HANDLERS = (list_dead, show_dead, replay_dead)
