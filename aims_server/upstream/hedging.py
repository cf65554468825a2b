"""Owns when a late call gets another one beside it, and which of them wins; makes no
call itself (J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013; gRPC's A6).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from itertools import takewhile
from math import inf
from typing import Any, Final, TypeVar

from ..deadline import Clock
from .latency import LatencyEstimate

__all__ = ["Hedging"]

Result = TypeVar("Result")

_MEDIANS: Final = 2.0  # a call is late at so many times the median, or
_HIGH: Final = 0.95  # at this quantile, whichever is later
# Where more calls than that are never answered, the quantile is infinite. Of those that
# are, a call is late at so many times it. The more, the longer a heavy tail's pages
# take: their p95 is 4.7 s with 1.5, 4.1 with this, for 16.7 and 17.2 calls a page.
_ANSWERED_FACTOR: Final = 1.25
# So many calls of those that were answered meanwhile may be late as exceptions. With a
# fifth, where one call in twenty hangs, a page in eighty lacks a subject; with half,
# one in four hundred (simulated as in tests/upstream/test_slow_days.py).
_EXCEPTIONS: Final = 0.5
_ENOUGH: Final = 3  # answers without which no call is late
_MANY: Final = 20  # answers without which the longest says more than a quantile
_FRESH: Final = 8  # answers and losses after which the threshold is worked out anew
_LOOK_AGAIN: Final = 0.25  # seconds, while there are fewer


class Hedging:
    """Runs a call, and up to `copies - 1` more beside it when it is late.

    >>> async def example():
    ...     hedging = Hedging()
    ...     for _ in range(20):
    ...         hedging.latency.observe(0.01)
    ...     async def hang():
    ...         await asyncio.sleep(60)
    ...     async def answer():
    ...         return "the second one's answer"
    ...     return await hedging.run(hang(), answer)
    >>> asyncio.run(example())
    "the second one's answer"

    A call is late when it has taken longer than the endpoint's recent calls do: longer
    than their 95th percentile, than twice their median, and than `soonest` seconds,
    below which nobody notices. `another` is then asked for
    one more call; it may give None (no slot is free, the budget is used up), and is
    asked again after as long. A third one follows a second that is late as well.

    When all calls become slow the quantiles follow, and none is late any more. Until
    then a late one is left alone unless it is an exception: beside it, no more are late
    than half of those that were answered since it began.

    The first answer wins, and the others are cancelled. So does an error that would not
    be another one's; one of the kinds in `inconclusive` waits for the others.
    """

    def __init__(
        self,
        *,
        inconclusive: tuple[type[Exception], ...] = (),
        copies: int = 3,
        soonest: float = 0.25,
        clock: Clock = time.monotonic,
    ) -> None:
        self.latency = LatencyEstimate()
        self._inconclusive = inconclusive
        self._copies = copies
        self._soonest = soonest
        self._clock = clock
        self._answers = 0
        self._threshold = inf
        self._threshold_at = 0  # the estimate's count then
        self._began: dict[object, float] = {}  # of calls under way, in order

    @property
    def late_after(self) -> float | None:
        """Seconds after which a call is late; None while too little is known."""
        latency = self.latency
        if latency.answered < _ENOUGH:
            return None
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
        return max(high, _MEDIANS * median, self._soonest)

    async def run(
        self,
        first: Coroutine[Any, Any, Result],
        another: Callable[[], Coroutine[Any, Any, Result] | None],
    ) -> Result:
        """The first result of these calls, or final error, or the last one's error."""
        calls = {asyncio.create_task(first)}
        done: set[asyncio.Task[Result]] = set()
        winner: asyncio.Task[Result] | None = None
        started, newest_at = 1, self._clock()
        answers, key = self._answers, object()
        self._began[key] = newest_at
        try:
            while True:
                left = self._time_left(newest_at) if started < self._copies else None
                done, calls = await asyncio.wait(
                    calls, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                winner = next(filter(self._is_conclusive, done), None)
                if winner is None and not calls:
                    winner = done.pop()
                if winner is not None:
                    self._answers += 1
                    return winner.result()
                if done or self._time_left(newest_at) > 0:
                    continue
                newest_at = self._clock()
                exceptions = 1 + _EXCEPTIONS * (self._answers - answers)
                extra = another() if self._late() <= exceptions else None
                if extra is not None:
                    calls.add(asyncio.create_task(extra))
                    started += 1
        finally:
            del self._began[key]
            for call in calls:
                call.cancel()
                self.latency.give_up()
            # An error's traceback holds this frame, and these would hold the error.
            del calls, done, winner

    def _is_conclusive(self, call: asyncio.Task[Any]) -> bool:
        return call.cancelled() or not isinstance(call.exception(), self._inconclusive)

    def _late(self) -> int:
        """How many calls under way are late."""
        moment = self._clock() - (self.late_after or 0.0)
        return sum(1 for _ in takewhile(moment.__ge__, self._began.values()))

    def _time_left(self, newest_at: float) -> float:
        """Seconds until the newest call is late, as things stand."""
        late_after = self.late_after
        if late_after is None:
            return _LOOK_AGAIN
        return newest_at + late_after - self._clock()
