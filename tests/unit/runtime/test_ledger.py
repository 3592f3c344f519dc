"""The ledger against a channel that behaves as RabbitMQ's does."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.bus.ledger import AckLedger


class Channel:
    """Deliveries 1 to `last`, unacknowledged; refuses what makes RabbitMQ close the channel."""

    def __init__(self, last: int) -> None:
        self.unacked = set(range(1, last + 1))

    def ack(self, tag: int, *, multiple: bool) -> None:
        """One `basic.ack`."""
        assert tag in self.unacked, f"PRECONDITION_FAILED - unknown delivery tag {tag}"
        self.unacked -= {one for one in self.unacked if one <= tag} if multiple else {tag}


@given(batches=st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 30)))))
def test_exactly_the_settled_are_settled(batches: list[tuple[bool, list[int]]]) -> None:
    """In whatever order and however often tags are settled, the broker knows of these and no other."""
    channel, ledger, settled = Channel(30), AckLedger(), set[int]()
    for by_ack, tags in batches:
        if by_ack:
            for tag, multiple in ledger.acks(tags):
                channel.ack(tag, multiple=multiple)
        else:
            channel.unacked -= set(ledger.settle(tags))
        settled |= set(tags)
        assert channel.unacked == set(range(1, 31)) - settled
        assert ledger.settled == len(settled)


def test_a_run_of_tags_takes_one_frame() -> None:
    """Tags without a gap below them are one frame; those above a gap are single frames until it closes."""
    ledger = AckLedger()
    assert ledger.acks([3, 1, 2]) == [(3, True)]
    assert ledger.acks([4]) == [(4, False)]
    assert ledger.acks([6, 8]) == [(6, False), (8, False)]
    assert ledger.acks([5]) == [(5, False)]
    assert ledger.acks([7, 9]) == [(9, True)]
    assert ledger.acks([1, 9]) == []
