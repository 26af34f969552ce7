"""The server's clock, estimated from what the server says of it. No I/O; the time comes in.

A sample is the server's clock when it sent something and our monotonic clock when that came: too small by the
time that it travelled. So of the last samples the largest counts, and half of the shortest round trip is
added, as in NTP's clock filter (RFC 5905, section 10).
"""

from __future__ import annotations

from collections import deque

__all__ = ["ServerClock", "Steady"]

SAMPLES = 16
SET_BACK_SECONDS = 1.0
"""A reading that is behind the one before by more than this comes of a clock that was set, not of noise."""


class ServerClock:
    """What the server's clock shows, by the last 16 samples."""

    def __init__(self) -> None:
        # The server's clock minus the monotonic one, in microseconds, and the round trip known then.
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    def sample(self, server_us: int, rtt_us: float, monotonic: float) -> None:
        """Takes what the server's clock showed when it sent what came just now. A round trip of 0 is not
        known."""
        self._samples.append((server_us - monotonic * 1e6, rtt_us))

    def at(self, monotonic: float) -> float | None:
        """The server's clock, microseconds since the Unix epoch. None before the first sample."""
        if not self._samples:
            return None
        offset = max(sample for sample, _ in self._samples)
        return monotonic * 1e6 + offset + min((rtt for _, rtt in self._samples if rtt), default=0.0) / 2


class Steady:
    """Makes readings of an estimate, in seconds, that do not go back when a better sample corrects it.

    Where the estimate is behind the last reading, that is given again until the estimate has caught up. A
    clock that was set back by more than a second is believed.
    """

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, estimate: float) -> float:
        if not self._last - SET_BACK_SECONDS <= estimate < self._last:
            self._last = estimate
        return self._last
