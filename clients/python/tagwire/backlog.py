"""A queue with two limits and a rule for what happens at them. No I/O, no locks.

Used on both ways: for received messages that the application has not taken yet, and for messages to send that
the socket has not taken yet. While the taker keeps up, everything is queued. Once it does not, what a newer
message replaces (LATEST) or may be lost (UNRELIABLE) makes room; what is ORDERED never does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

from .events import Received

T = TypeVar("T")

__all__ = ["Backlog", "key_of"]

MIN_GONE = 64
"""Those that are gone are swept out when they are more than those that wait, and more than this."""

GONE_SHARE = 8
"""Or when they hold more than this part of the bytes that may wait."""


class _Wrapped(NamedTuple):
    """An entry of something that is no `Received`. Size and delivery are where that has them."""

    item: Any
    key: Hashable
    size: int
    delivery: str


_size_of = itemgetter(2)
_delivery_of = itemgetter(3)


def key_of(received: Received) -> Hashable:
    """What a LATEST message shares with those that it replaces."""
    _, sender, _, _, tag = received
    return tag, sender.id if sender is not None else 0


def _key_of(entry: Any) -> Hashable:
    return entry.key if type(entry) is _Wrapped else key_of(entry)


class Backlog(Generic[T]):
    """A bounded queue of messages."""

    def __init__(self, *, max_items: int, max_bytes: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.bytes = 0
        """Sum of the sizes of what waits."""
        self.dropped = 0
        """How many messages were replaced or dropped so far."""
        self.entries: deque[Any] = deque()
        """What waits, and what is gone from between. Empty: nothing waits."""
        self._gone: set[int] = set()
        self._gone_bytes = 0
        self.latest: dict[Hashable, Any] | None = None
        """The newest LATEST entry of each key. None while nobody was behind since it was empty, as in most
        queues: then `entries` and `bytes` are all that there is, and nothing is gone from between."""

    def __len__(self) -> int:
        return self._count()

    def _count(self) -> int:
        return len(self.entries) - len(self._gone)

    def push(self, item: T, size: int, delivery: str, key: Hashable, *, behind: bool) -> bool:
        """Queues an item of `size` bytes. False: there is no room for it, and nothing has changed.

        `key` is what a LATEST message shares with those it replaces. `behind` says that the taker does not
        keep up: only then are LATEST messages replaced, by the newer one at the end, and UNRELIABLE ones
        dropped.
        """
        if delivery == "UNRELIABLE" and behind:
            self.dropped += 1
            return True
        older = self._index().get(key) if delivery == "LATEST" and behind else None
        gone = 0 if older is None else 1
        freed = 0 if older is None else _size_of(older)
        count = self._count() - gone
        if count and (count >= self.max_items or self.bytes - freed + size > self.max_bytes):
            return False
        if older is not None:
            self._remove(older)
            self.dropped += 1
        entry = _Wrapped(item, key, size, delivery)
        self.entries.append(entry)
        self.bytes += size
        if delivery == "LATEST" and self.latest is not None:
            self.latest[key] = entry
        return True

    def extend(self, items: Sequence[Received], *, at_most: int) -> bool:
        """Queues messages of the game, while the taker keeps up. False: then more than `at_most` would wait,
        or there is no room for all of them, and nothing has changed."""
        size = sum(map(_size_of, items))
        count = len(self.entries) - len(self._gone) + len(items)
        if count > at_most or count > self.max_items or self.bytes + size > self.max_bytes:
            return False
        self.entries.extend(items)
        self.bytes += size
        if self.latest is not None:
            for item in items:
                if _delivery_of(item) == "LATEST":
                    self.latest[key_of(item)] = item
        return True

    def pop(self) -> T | None:
        """Takes the oldest item, or gives `None` when nothing waits."""
        if not self.entries:
            return None
        entry = self.entries.popleft()
        self.bytes -= _size_of(entry)
        if self.latest is not None:
            self._forget(entry)
            self._drop_gone()
        item: T = entry.item if type(entry) is _Wrapped else entry
        return item

    def take(self, at_most: int) -> list[Any]:
        """Takes the oldest entries together, while nobody is behind (`latest` is None)."""
        entries = self.entries
        if len(entries) <= at_most:
            taken, self.bytes = list(entries), 0
            entries.clear()
        else:
            taken = [entries.popleft() for _ in range(at_most)]
            self.bytes -= sum(map(_size_of, taken))
        return taken

    def give_back(self, entries: Sequence[Any]) -> None:
        """Puts the last ones that `take` gave where they were."""
        self.entries.extendleft(reversed(entries))
        self.bytes += sum(map(_size_of, entries))

    def remove(self, item: T) -> None:
        """Takes out one item, this very one, if it waits."""
        self._index()
        for entry in self.entries:
            waiting = entry.item if type(entry) is _Wrapped else entry
            if waiting is item and id(entry) not in self._gone:
                self._remove(entry)
                return

    def clear(self) -> None:
        """Forgets everything that waits."""
        self.entries.clear()
        self._gone.clear()
        self._gone_bytes = 0
        self.latest = None
        self.bytes = 0

    def _index(self) -> dict[Hashable, Any]:
        if self.latest is None:
            self.latest = {_key_of(entry): entry for entry in self.entries if _delivery_of(entry) == "LATEST"}
        return self.latest

    def _remove(self, entry: Any) -> None:
        """Takes out one from between: it stays where it is until those before it are gone."""
        self._gone.add(id(entry))
        self._gone_bytes += _size_of(entry)
        self.bytes -= _size_of(entry)
        self._forget(entry)
        self._drop_gone()

    def _forget(self, entry: Any) -> None:
        key, latest = _key_of(entry), self._index()
        if latest.get(key) is entry:
            del latest[key]

    def _drop_gone(self) -> None:
        """Keeps the first entry one that waits, and the index only as long as anything does."""
        while self.entries and id(self.entries[0]) in self._gone:
            first = self.entries.popleft()
            self._gone.remove(id(first))
            self._gone_bytes -= _size_of(first)
        many = self._gone_bytes > self.max_bytes // GONE_SHARE
        if many or len(self._gone) > self._count() + MIN_GONE:
            waiting = [entry for entry in self.entries if id(entry) not in self._gone]
            self.entries.clear()
            self.entries.extend(waiting)
            self._gone.clear()
            self._gone_bytes = 0
        if not self.entries:
            self.latest = None
