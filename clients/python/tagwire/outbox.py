"""The counted frames of one session on their way: to be written, and written but not yet acknowledged.

    append -> [ to be written ] -> take -> [ kept, until acknowledged ]
                     ^                              |
                     +------------ resume ----------+

A frame has its place in the count from `append` on. What was written is kept until the server has said that
it handled it, so that it can be sent again on another connection; over 256 KiB the oldest is forgotten.
Nothing is kept for a session that cannot be resumed. No I/O, no locks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import repeat, starmap

__all__ = ["Outbox"]

MAX_KEPT_BYTES = 256 * 1024
"""What is kept of the frames that were written and not acknowledged."""


class Outbox:
    """Frames with three cursors: acknowledged <= written <= committed, each the number of a frame, from 1."""

    def __init__(self) -> None:
        self.keeping = False
        """Whether what was written is kept."""
        self.written = 0
        """How many frames were taken to be written, on one connection or another."""
        self.acknowledged = 0
        """How many of them the server has said it handled."""
        self.kept_bytes = 0
        """Sum of the sizes of what is kept."""
        self.fresh: list[bytes] = []
        """What is to be written. Always this one list, for `append` is its own."""
        self._kept: deque[bytes] = deque()
        self.append: Callable[[bytes], None] = self.fresh.append
        """Commits a frame: it has the next place in the count. No method: that is a call for each message."""

    @property
    def committed(self) -> int:
        """How many frames have a place in the count."""
        return self.written + len(self.fresh)

    @property
    def forgotten(self) -> int:
        """How many frames cannot be sent again any more."""
        return self.written - len(self._kept)

    def take(self) -> list[bytes]:
        """Gives what is to be written, in order."""
        if not self.fresh:
            return []
        frames = self.fresh.copy()
        self.fresh.clear()
        self.written += len(frames)
        if self.keeping:
            self._kept += frames
            self.kept_bytes += sum(map(len, frames))
            while self.kept_bytes > MAX_KEPT_BYTES:
                self.kept_bytes -= len(self._kept.popleft())
        return frames

    def acknowledge(self, count: int) -> bool:
        """The server has handled so many frames. False: it cannot have, for they were not written."""
        if count > self.written:
            return False
        if count > self.acknowledged:
            self.acknowledged = count
            self._forget_to(count)
        return True

    def resume(self, count: int) -> bool:
        """The server goes on behind so many frames: `take` gives all after them once more. False: that is not
        possible, and nothing has changed."""
        if not self.forgotten <= count <= self.written:
            return False
        self.acknowledged = max(self.acknowledged, count)
        self._forget_to(count)
        self.fresh[:0] = self._kept
        self._kept.clear()
        self.written, self.kept_bytes = count, 0
        return True

    def reset(self) -> int:
        """Begins the count of another session. Gives how many frames were not acknowledged in this one."""
        lost = self.committed - self.acknowledged
        self.written = self.acknowledged = self.kept_bytes = 0
        self.fresh.clear()
        self._kept.clear()
        return lost

    def _forget_to(self, count: int) -> None:
        gone = count - self.forgotten
        if gone > 0:
            oldest = self._kept.popleft
            self.kept_bytes -= sum(map(len, starmap(oldest, repeat((), gone))))
