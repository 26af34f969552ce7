"""How a client comes back by itself: the policy, the delays that follow from it, and what is told of it.

No I/O and no clock: `reconnecting.py` acts on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Delays", "Reconnect", "Reconnected", "Reconnecting", "policy_of"]

QUICK_SECONDS = 0.2
"""The first attempt after a lost connection comes within this time, so that what hits ten thousand clients at
once does not bring them back in the same millisecond."""
MAX_POWER = 64
"""More doublings than any delay needs; keeps the power of a large attempt finite."""


@dataclass(frozen=True)
class Reconnect:
    """When and how often to connect again. The default is that of the protocol: from 0.5 s, doubling to 30 s,
    with full jitter, for two minutes.

    After a connection that was lost the first attempt comes almost at once, within 0.2 s. All others, and the
    first after the server itself has ended the session, come after a delay that grows. A delay that the
    server asked for is added to it. Raises `ValueError` for numbers that make no sense.
    """

    first_delay: float = 0.5
    """Seconds: the longest first delay."""

    factor: float = 2.0
    """How much longer each further delay may be. At least 1."""

    max_delay: float = 30.0
    """Seconds: no delay is longer, but for what the server asks."""

    jitter: float = 1.0
    """How much of each delay is drawn by lot: 1 is full jitter, from nothing to the whole delay; 0.5 is from
    half of it to the whole; 0 is none."""

    give_up_after: float = 120.0
    """Seconds from the loss on: no attempt begins later, and the client ends with `ConnectionClosed`, code
    TIMEOUT. `math.inf`: never."""

    def __post_init__(self) -> None:
        checks = {
            "first_delay": 0 <= self.first_delay < math.inf,
            "factor": 1 <= self.factor < math.inf,
            "max_delay": 0 <= self.max_delay < math.inf,
            "jitter": 0 <= self.jitter <= 1,
            "give_up_after": self.give_up_after >= 0,  # not so for NaN either
        }
        for name, good in checks.items():
            if not good:
                raise ValueError(f"Reconnect({name}={getattr(self, name)!r})")


@dataclass(frozen=True)
class Reconnecting:
    """The connection is lost, and will be tried again."""

    attempt: int
    """Number of the attempt that comes, from 1 on for each loss."""

    delay: float
    """Seconds until it."""

    reason: str
    """Why the connection, or the attempt before, failed."""


@dataclass(frozen=True)
class Reconnected:
    """The client is connected again."""

    resumed: bool
    """True: the session goes on, as if nothing had happened; nothing is lost and nothing comes twice. False:
    it is a new one, in the room of the server's choice, with none of the requests before; maybe with another
    number and, for guests, another name."""

    attempts: int
    """How many it took."""

    lost: int
    """How many messages and requests of this client were on their way or waited when the session before
    ended. The server may have got some of them. 0 where it goes on."""


class Delays:
    """The delays of one client, one after the other."""

    def __init__(self, policy: Reconnect, random: Callable[[], float]) -> None:
        """`random` gives numbers from 0 to 1."""
        self._policy = policy
        self._random = random
        self._made = 0

    def next(self, *, quick: bool = False, retry_after: float = 0.0) -> float:
        """Seconds until the next attempt. `quick`: a connection was lost that stood; `retry_after`: what the
        server asked for."""
        policy = self._policy
        if quick and self._made == 0:
            longest = min(QUICK_SECONDS, policy.first_delay)
        else:
            power = min(self._made - 1 if self._made else 0, MAX_POWER)
            longest = min(policy.first_delay * policy.factor**power, policy.max_delay)
        self._made += 1
        # What the server asks for is the same for all, and must not bring all back at once.
        return retry_after + longest * (1 - policy.jitter * self._random())

    def reset(self) -> None:
        """Begins with the shortest again."""
        self._made = 0


def policy_of(reconnect: bool | Reconnect) -> Reconnect | None:
    """What the argument `reconnect` of `connect` means. Raises `TypeError` for something else."""
    if isinstance(reconnect, Reconnect):
        return reconnect
    if isinstance(reconnect, bool):
        return Reconnect() if reconnect else None
    raise TypeError(f"reconnect must be True, False or a Reconnect, not {reconnect!r}")
