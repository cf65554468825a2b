"""Owns the time after which a call is late, from the durations of recent calls."""

from typing import Final

from .latency import LatencyEstimate

__all__ = ["Lateness"]

# A call is late after this many medians and at this quantile, whichever comes later.
_MEDIANS: Final = 2.0
_HIGH: Final = 0.95
# If more than a twentieth of the calls are never answered, that quantile is infinite.
# Then a call is late at this many times the quantile of the answered calls. With a
# heavy tail a page's p95 is 4.7 s with 1.5 (16.7 calls a page) and 4.1 s with 1.25
# (17.2).
_ANSWERED_FACTOR: Final = 1.25
_ENOUGH: Final = 3  # with fewer answers a call is late after so many seconds
_UNKNOWN_SECONDS: Final = 3.0
_MANY: Final = 20  # with fewer answers the longest says more than a quantile
_FRESH: Final = 8  # calls after which the threshold is computed anew


class Lateness:
    """The time after which a call is late: the longest of the 95th percentile of recent
    calls, twice their median, and ``soonest`` seconds.

    >>> lateness = Lateness(soonest=0.25)
    >>> lateness.late_after
    3.0
    >>> for _ in range(20):
    ...     lateness.latency.observe(0.5)
    >>> 1.0 <= lateness.late_after <= 1.1
    True
    """

    def __init__(self, soonest: float) -> None:
        self.latency = LatencyEstimate()
        """Report each ended call to it."""

        self.soonest = soonest
        """No call is late before so many seconds."""

        self._threshold = 0.0
        self._threshold_at = 0  # the estimate's count then

    @property
    def late_after(self) -> float:
        """Seconds after which a call is late."""
        latency = self.latency
        if latency.answered < _ENOUGH:
            return _UNKNOWN_SECONDS
        if latency.count >= self._threshold_at + _FRESH or latency.answered < _MANY:
            # Not for each call, of whose 30 us this would take 9.
            self._threshold_at = latency.count
            self._threshold = self._work_out()
        return self._threshold

    def _work_out(self) -> float:
        latency = self.latency
        if latency.answered < _MANY:
            high = _MEDIANS * latency.quantile(1.0, answered=True)
        else:
            high = min(
                latency.quantile(_HIGH),
                _ANSWERED_FACTOR * latency.quantile(_HIGH, answered=True),
            )
        median = latency.quantile(0.5, answered=True)
        return max(high, _MEDIANS * median, self.soonest)
