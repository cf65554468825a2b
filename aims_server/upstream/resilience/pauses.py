"""The pauses that the platform asks for (``Retry-After``), by caller."""

import heapq
import time
from typing import Final

from ...deadline import Clock
from .calls import CallerKey

__all__ = ["Pauses"]

_CALLERS: Final = 3  # when so many callers have to pause, all have to


class Pauses:
    """The pauses that one endpoint has asked for.

    >>> pauses = Pauses(clock=lambda: 0.0)
    >>> pauses.add(CallerKey.student(1), 60.0)
    >>> pauses.left(CallerKey.student(1)), pauses.left(CallerKey.student(2))
    (60.0, 0.0)

    A pause holds for the caller whose call was answered with it. While at least three
    callers have one of their own, all callers pause. At most `limit` callers are
    remembered; the oldest are forgotten first.
    """

    def __init__(self, *, limit: int = 1024, clock: Clock = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._until: dict[CallerKey, float] = {}
        self._all_until = 0.0

    def add(self, caller: CallerKey, seconds: float) -> None:
        """Note a pause of this caller; of several the longest counts."""
        until = max(self._until.pop(caller, 0.0), self._clock() + seconds)
        if len(self._until) >= self._limit:
            del self._until[next(iter(self._until))]
        self._until[caller] = until
        if len(self._until) >= _CALLERS:
            self._all_until = heapq.nlargest(_CALLERS, self._until.values())[-1]

    def left(self, caller: CallerKey) -> float:
        """Seconds for which this caller should make no call; 0.0 if it may."""
        until = max(self._until.get(caller, 0.0), self._all_until)
        return max(0.0, until - self._clock())
