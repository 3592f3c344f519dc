"""What the invariant about repetitions calls `as if once`."""

import pytest

from tests.simulation.clockwork import Life
from tests.simulation.invariants.effects import once
from tests.simulation.ledger import Performance, Script


def took(place: int, what: str) -> Performance:
    """A performance that took effect: `do` or `undo`, and on which host."""
    kind, host = what.split()
    made = Performance(
        number=place,
        life=Life(host, 1),
        agent=host,
        instance_id="i",
        command_id=f"c{place}",
        task=("run-1", "s0", 0),
        attempt=1,
        undo=kind == "undo",
        args={},
        script=Script(0, 0, effect=True),
        at=float(place),
    )
    made.effect_at = float(place)
    return made


@pytest.mark.parametrize(
    ("ran", "there"),
    [
        (["do a"], True),
        (["do a", "do a"], True),
        (["do a", "undo a"], False),
        (["do a", "do a", "undo a"], False),
        (["do a", "undo a", "do a"], False),
        (["do a", "undo b"], False),
        (["do a", "do b", "undo b"], True),
        (["do b"], False),
    ],
)
def test_as_if_once(ran: list[str], there: bool) -> None:  # noqa: FBT001
    """On host `a` the effect is as the first time left it, however often it was done."""
    assert once([took(place, what) for place, what in enumerate(ran)], "a") is there
