"""Which acknowledgements to send for the deliveries of one AMQP channel."""

from collections.abc import Iterable

__all__ = ["AckLedger"]


class AckLedger:
    """Settles delivery tags, which on a channel count up from 1, with as few frames as is safe.

    `multiple=True` acknowledges every lower tag too, handled or not, so it is used only where all lower
    tags are settled. The tag it names must be new: RabbitMQ closes the channel on a tag settled before.
    """

    def __init__(self) -> None:
        self._floor = 0
        """Every tag up to here is settled."""
        self._above: set[int] = set()
        """Settled tags above a gap."""

    @property
    def settled(self) -> int:
        """How many tags are settled."""
        return self._floor + len(self._above)

    def settle(self, tags: Iterable[int]) -> list[int]:
        """Note `tags` as settled and return, in order, those that were not so before."""
        new = sorted({tag for tag in tags if tag > self._floor and tag not in self._above})
        self._above.update(new)
        while self._floor + 1 in self._above:
            self._floor += 1
            self._above.remove(self._floor)
        return new

    def acks(self, tags: Iterable[int]) -> list[tuple[int, bool]]:
        """Settle `tags` and return the frames that tell the broker: (tag, multiple)."""
        new = self.settle(tags)
        covered = [tag for tag in new if tag <= self._floor]
        frames = [(covered[-1], len(covered) > 1)] if covered else []
        return frames + [(tag, False) for tag in new if tag > self._floor]
