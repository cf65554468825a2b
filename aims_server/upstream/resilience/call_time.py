"""How long a call is thought to take, learnt from those that have ended."""

import math
import time
from typing import Final

from ...deadline import Clock

__all__ = ["CallTime"]

_LEARNING: Final = 0.1  # weight of the newest call: about the last twenty matter
_FADING_SECONDS: Final = 30.0  # half-life of what was learnt, when nothing new comes
_OUTDATED_SECONDS: Final = 5.0  # half-life of a call's weight, by how long ago it began


class CallTime:
    """An exponential mean of calls' times; it decays towards ``first_guess``, so that a
    slow minute does not count for long.

    >>> calls = CallTime(0.3, clock=lambda: 100.0)
    >>> for _ in range(50):
    ...     calls.learn(2.0)
    >>> round(calls.seconds, 2)
    1.99

    A call tells how it was when it began: one that hung for half a minute counts for
    little beside those that began and ended meanwhile.
    """

    def __init__(self, first_guess: float, *, clock: Clock = time.monotonic) -> None:
        self._first_guess = first_guess
        self._clock = clock
        self._learnt = first_guess
        self._learnt_at = clock()
        self._newest = -math.inf  # when the call that began last began, of those learnt

    @property
    def seconds(self) -> float:
        """The mean now."""
        age = self._clock() - self._learnt_at
        trust = math.exp2(-age / _FADING_SECONDS)
        return self._first_guess + trust * (self._learnt - self._first_guess)

    def learn(self, seconds: float) -> None:
        """A call has ended that took so long."""
        believed, now = self.seconds, self._clock()
        self._newest = max(self._newest, now - seconds)
        weight = math.exp2((now - seconds - self._newest) / _OUTDATED_SECONDS)
        self._learnt = believed + _LEARNING * weight * (seconds - believed)
        self._learnt_at = now
