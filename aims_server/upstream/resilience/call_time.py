"""Owns the expected duration of a call, learnt from calls that have ended."""

import math
import time
from typing import Final

from ...deadline import Clock

__all__ = ["CallTime"]

_LEARNING: Final = 0.1  # weight of the newest call: about the last twenty matter
_FADING_SECONDS: Final = 30.0  # half-life of what was learnt, without new calls
_OUTDATED_SECONDS: Final = 5.0  # half-life of a call's weight, by how long ago it began


class CallTime:
    """An exponential mean of call durations. It decays towards ``first_guess``, so that
    a slow minute does not count for long.

    >>> calls = CallTime(0.3, clock=lambda: 100.0)
    >>> for _ in range(50):
    ...     calls.learn(2.0)
    >>> round(calls.seconds, 2)
    1.99

    A call shows how fast the platform was when the call began: one that hung for half a
    minute has little weight beside those that began and ended meanwhile.
    """

    def __init__(self, first_guess: float, *, clock: Clock = time.monotonic) -> None:
        self._first_guess = first_guess
        self._clock = clock
        self._learnt = first_guess
        self._learnt_at = clock()
        self._newest = -math.inf  # the latest beginning of all calls learnt from

    @property
    def seconds(self) -> float:
        """The present mean."""
        age = self._clock() - self._learnt_at
        trust = math.exp2(-age / _FADING_SECONDS)
        return self._first_guess + trust * (self._learnt - self._first_guess)

    def learn(self, seconds: float) -> None:
        """Count a call that took ``seconds``."""
        believed, now = self.seconds, self._clock()
        self._newest = max(self._newest, now - seconds)
        weight = math.exp2((now - seconds - self._newest) / _OUTDATED_SECONDS)
        self._learnt = believed + _LEARNING * weight * (seconds - believed)
        self._learnt_at = now
