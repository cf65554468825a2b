"""Owns after how many seconds a call is late, by how long recent calls took."""

from math import inf
from typing import Final

from .latency import LatencyEstimate

__all__ = ["Lateness"]

# A call is late after this many medians and at this quantile, whichever comes later.
_MEDIANS: Final = 2.0
_HIGH: Final = 0.95
# Where more than a twentieth of the calls are never answered, that quantile is
# infinite; then a call is late at this many times the quantile of the answered ones.
# With a heavy tail a page's p95 is 4.7 s at a factor of 1.5 and 4.1 s at this one, for
# 16.7 and 17.2 calls a page.
_ANSWERED_FACTOR: Final = 1.25
_ENOUGH: Final = 3  # with fewer answers no call is late
_MANY: Final = 20  # with fewer answers the longest says more than a quantile
_FRESH: Final = 8  # calls after which the threshold is worked out anew


class Lateness:
    """The time after which a call is late: longer than the 95th percentile of recent
    calls, than twice their median, and than ``soonest`` seconds, below which nobody
    notices.

    >>> lateness = Lateness(soonest=0.25)
    >>> lateness.late_after
    inf
    >>> for _ in range(20):
    ...     lateness.latency.observe(0.5)
    >>> 1.0 <= lateness.late_after <= 1.1
    True
    """

    def __init__(self, soonest: float) -> None:
        self.latency = LatencyEstimate()
        """To be told of each call that has ended."""

        self.soonest = soonest
        """Seconds before which no call is late."""

        self._threshold = inf
        self._threshold_at = 0  # the estimate's count then

    @property
    def late_after(self) -> float:
        """Seconds after which a call is late; infinite while too little is known."""
        latency = self.latency
        if latency.answered < _ENOUGH:
            return inf
        if latency.count >= self._threshold_at + _FRESH or latency.answered < _MANY:
            # 9 us of a call's 30, were it worked out for each.
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
