"""Jobs that wait for their turn: higher priority first, within one priority the first that came."""

from collections import deque
from typing import Generic, Protocol, TypeVar

from schemas.workflow import MAX_PRIORITY

__all__ = ["Backlog"]


class _HasPriority(Protocol):
    """What can be queued."""

    @property
    def priority(self) -> int: ...


T = TypeVar("T", bound=_HasPriority)


class Backlog(Generic[T]):
    """A queue for each priority. Putting and taking cost the same however many wait."""

    def __init__(self) -> None:
        self._queues: tuple[deque[T], ...] = tuple(deque() for _ in range(MAX_PRIORITY + 1))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, item: T) -> None:
        """Queue an item behind those of its priority."""
        self._queues[item.priority].append(item)
        self._count += 1

    def take(self) -> T:
        """The item whose turn it is; `IndexError` when none waits."""
        for queue in reversed(self._queues):
            if queue:
                self._count -= 1
                return queue.popleft()
        raise IndexError("nothing waits")

    def remove(self, item: T) -> None:
        """Take an item out of turn; `ValueError` when it does not wait."""
        self._queues[item.priority].remove(item)
        self._count -= 1
