"""A queue with two limits and a rule for what happens at them. No I/O, no locks.

Used on both ways: for received messages that the application has not taken yet, and for messages to send that
the socket has not taken yet. While the taker keeps up, everything is queued. Once it does not, what a newer
message replaces (LATEST) or may be lost (UNRELIABLE) makes room; what is ORDERED never does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

__all__ = ["Backlog"]


class Backlog(Generic[T]):
    """A bounded queue of messages."""

    def __init__(self, *, max_items: int, max_bytes: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.bytes = 0
        """Sum of the sizes of what waits."""
        self.dropped = 0
        """How many messages were replaced or dropped so far."""
        self._items: OrderedDict[int, tuple[T, int, Hashable]] = OrderedDict()
        self._latest: dict[Hashable, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T, size: int, delivery: str, key: Hashable, *, behind: bool) -> bool:
        """Queues an item of `size` bytes. False: there is no room for it, and nothing has changed.

        `key` is what a LATEST message shares with those it replaces. `behind` says that the taker does not
        keep up: only then are LATEST messages replaced, by the newer one at the end, and UNRELIABLE ones
        dropped.
        """
        if delivery == "UNRELIABLE" and behind:
            self.dropped += 1
            return True
        older = self._latest.get(key) if delivery == "LATEST" and behind else None
        gone = 0 if older is None else 1
        freed = 0 if older is None else self._items[older][1]
        count = len(self._items) - gone
        if count and (count >= self.max_items or self.bytes - freed + size > self.max_bytes):
            return False
        if older is not None:
            self._remove(older)
            self.dropped += 1
        number = self._next
        self._next += 1
        self._items[number] = (item, size, key)
        self.bytes += size
        if delivery == "LATEST":
            self._latest[key] = number
        return True

    def pop(self) -> T | None:
        """Takes the oldest item, or gives `None` when nothing waits."""
        if not self._items:
            return None
        return self._remove(next(iter(self._items)))

    def remove(self, item: T) -> None:
        """Takes out one item, this very one, if it waits."""
        for number, (waiting, _, _) in self._items.items():
            if waiting is item:
                self._remove(number)
                return

    def clear(self) -> None:
        """Forgets everything that waits."""
        self._items.clear()
        self._latest.clear()
        self.bytes = 0

    def _remove(self, number: int) -> T:
        item, size, key = self._items.pop(number)
        self.bytes -= size
        if self._latest.get(key) == number:
            del self._latest[key]
        return item
