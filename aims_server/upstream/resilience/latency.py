"""Owns the quantiles of recent calls' durations."""

import math
from bisect import bisect_right
from typing import Final

__all__ = ["LatencyEstimate"]

_SHORTEST: Final = 0.001  # seconds; bounds of bins are this times powers of _RATIO
_RATIO: Final = 1.1  # so a quantile is at most a tenth too large
_BINS: Final = 120  # up to 93 s
_BOUNDS: Final = [_SHORTEST * _RATIO ** (place + 1) for place in range(_BINS)]
_TOO_HEAVY: Final = 1e12


class LatencyEstimate:
    """A fading histogram of durations.

    >>> estimate = LatencyEstimate()
    >>> for number in range(100):
    ...     estimate.observe(0.2 if number % 10 else 2.0)
    >>> 0.2 <= estimate.quantile(0.5) <= 0.22, 2.0 <= estimate.quantile(0.95) <= 2.2
    (True, True)

    A call given up without an answer counts as infinitely long. Leaving it out would
    make the 95th percentile too small, and more and more calls late.

    Each observation weighs `1 - 1/memory` times the next one, so that about the last
    `memory` of them matter, however old they are. The bins grow geometrically (as in
    DDSketch, Masson et al., VLDB 2019), so counting, fading and reading take constant
    time, which no exact quantile of a stream can.
    """

    def __init__(self, *, memory: int = 200) -> None:
        self._growth = 1 / (1 - 1 / memory)
        self._weight = 1.0
        self._bins = [0.0] * _BINS
        self._answered_weight = 0.0
        self._given_up_weight = 0.0
        self.answered = 0
        """The number of calls answered so far."""

        self.count = 0
        """The number of calls counted so far."""

    def observe(self, seconds: float) -> None:
        """Count a call that was answered after ``seconds``."""
        self.answered += 1
        self._fade()
        self._bins[bisect_right(_BOUNDS, seconds, hi=_BINS - 1)] += self._weight
        self._answered_weight += self._weight

    def give_up(self) -> None:
        """Count a call that was not answered."""
        self._fade()
        self._given_up_weight += self._weight

    def _fade(self) -> None:
        self.count += 1
        self._weight *= self._growth
        if self._weight > _TOO_HEAVY:
            self._bins = [weight / _TOO_HEAVY for weight in self._bins]
            self._answered_weight /= _TOO_HEAVY
            self._given_up_weight /= _TOO_HEAVY
            self._weight /= _TOO_HEAVY

    def quantile(self, share: float, *, answered: bool = False) -> float:
        """The duration that this share of recent calls, or of `answered` ones only, did
        not exceed; at most a tenth too large, and infinite if too many were given up.

        Raises ValueError if none was answered.
        """
        if not self.answered:
            raise ValueError("nothing was observed yet")
        given_up = 0.0 if answered else self._given_up_weight
        beyond = (1 - share) * (self._answered_weight + given_up) - given_up
        if beyond < 0:
            return math.inf
        for place in range(_BINS - 1, -1, -1):
            beyond -= self._bins[place]
            if beyond < 0:
                return _BOUNDS[place]
        return _SHORTEST
