"""Owns whether a late call gets a hedge, and which call wins. Ends hanging calls while
others find no slot. Makes no call itself.

Hedges are described by J. Dean and L. A. Barroso, "The Tail at Scale", CACM 2013, and
in gRPC's proposal A6.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from itertools import takewhile
from math import inf
from typing import Any, Final, Generic, NoReturn, TypeVar

from ...deadline import Clock
from ...errors import UpstreamTimeout
from .hanging import Hanging
from .lateness import Lateness

__all__ = ["GaveWay", "Hedging"]

Result = TypeVar("Result")

# Late calls are exceptions while they are at most this share of the calls that ended
# meanwhile. If one call in twenty hangs, one page in eighty lacks a subject
# with 0.2, and one in four hundred with 0.5 (simulated as in
# tests/upstream/resilience/test_slow_days.py).
_EXCEPTIONS: Final = 0.5
_LOOK_AGAIN: Final = 0.25  # seconds between looks, since answers make calls late


class GaveWay(UpstreamTimeout):
    """A hanging call was ended to free its slot. For ``silent_seconds`` no call to its
    endpoint had been answered, though some were under way.
    """

    def __init__(self, silent_seconds: float) -> None:
        super().__init__()
        self.silent_seconds = silent_seconds


class Hedging:
    """Runs a call, and hedges if it is late.

    >>> async def example():
    ...     hedging = Hedging()
    ...     for _ in range(20):
    ...         hedging.latency.observe(0.01)
    ...     async def hang():
    ...         await asyncio.sleep(60)
    ...     async def answer(hangs):
    ...         return "the second one's answer"
    ...     return await hedging.run(hang(), answer)
    >>> asyncio.run(example())
    "the second one's answer"

    `Lateness` tells when a call is late, at the earliest after `soonest` seconds. Then
    `another` is asked for one more call. It may return None (no slot is free, the
    budget is used up) and is then asked again after the same time. If the second call
    is late too, a third one follows, and further ones, each after twice as long, since
    a platform may hang for some seconds. While others find no slot (`crowded`), all
    hedges but the newest are cancelled.

    When all calls become slow the quantiles follow, and none is late any more. Until
    then a late call is hedged only if it is an exception: the other late calls are at
    most half as many as the calls that ended since it began; or if a newer call was
    answered far faster: all of them may have hung for some seconds.

    If the newest of the calls hangs (`Hanging`), `another` is told so and asked for one
    more. While others find no slot, all of them are ended instead, which is called
    giving way: `run` raises :class:`GaveWay`.

    The first answer wins and the other calls are cancelled. The first error wins too,
    unless it is `inconclusive`: then the other calls are waited for.
    """

    def __init__(
        self,
        *,
        inconclusive: tuple[type[Exception], ...] = (),
        soonest: float = 0.25,
        hanging: Hanging | None = None,
        crowded: Callable[[], bool] = lambda: False,
        clock: Clock = time.monotonic,
    ) -> None:
        self.lateness = Lateness(soonest)
        self.latency = self.lateness.latency
        """Report the duration of each answered call to it."""

        self._inconclusive = inconclusive
        self.hanging = hanging or Hanging(10.0, clock=clock)
        self.crowded = crowded
        self.clock = clock
        self.ended = 0
        self._began: dict[_Race[Any], float] = {}  # of calls under way, in order
        # One timer for all: one for each call, mostly cancelled, took 3 us of a call.
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = inf

    @property
    def callers(self) -> list[asyncio.Task[Any]]:
        """The tasks whose calls are under way."""
        return [race.caller for race in self._began]

    async def run(
        self,
        first: Coroutine[Any, Any, Result],
        another: Callable[[bool], Coroutine[Any, Any, Result] | None],
    ) -> Result:
        """The first result or conclusive error of these calls, else the last error."""
        race = _Race(self, another)
        if not self._began:
            self.hanging.first_began()
        self._began[race] = race.newest_at
        self._look_by(race.newest_at + self.lateness.soonest)
        try:
            try:
                return await first
            except self._inconclusive:
                if not race.others:
                    raise
                race.first_failed = asyncio.get_running_loop().create_future()
                await race.first_failed
            except asyncio.CancelledError:
                self.latency.give_up()
                if race.outcome is None or race.caller.uncancel():
                    raise  # cancelled from outside
            assert race.outcome is not None
            return race.outcome()
        finally:
            self.ended += 1
            del self._began[race]
            if race.others:
                race.give_up(race.others)
            del race  # no cycle: it holds this task, an error's traceback this frame

    def answered(self, began: float) -> None:
        """Note that a call that began then is answered now."""
        self.hanging.answered(began)
        self.latency.observe(self.clock() - began)

    def _look_by(self, moment: float) -> None:
        """Look at the calls under way at ``moment`` at the latest."""
        if moment < self._look_at:
            if self._timer is not None:
                self._timer.cancel()
            self._look_at = moment
            left = moment - self.clock()
            self._timer = asyncio.get_running_loop().call_later(left, self._look)

    def _look(self) -> None:
        self._timer, self._look_at = None, inf
        # The youngest first: of calls that hang, it is the last to be answered if all
        # are just slow, and mostly another student's each time, as a breaker wants.
        for race in list(reversed(self._began)):
            if race.outcome is None:  # else it ends in a later turn of the loop
                race.look()
                self._look_by(min(race.due_at(), self.clock() + _LOOK_AGAIN))

    def is_conclusive(self, call: asyncio.Task[Any]) -> bool:
        """Whether another call would end no better than this one did."""
        return call.cancelled() or not isinstance(call.exception(), self._inconclusive)

    def may_be_hedged(self, ended: int, newest_at: float) -> bool:
        """Whether so few calls are late that each is an exception, or a newer one was
        answered far faster. ``ended`` is the count of ended calls when the late one
        began, ``newest_at`` when the last of its hedges did.
        """
        if self.hanging.is_overtaken(newest_at):
            return True
        moment = self.clock() - self.lateness.late_after
        late = sum(1 for _ in takewhile(moment.__ge__, self._began.values()))
        return late <= 1 + _EXCEPTIONS * (self.ended - ended)


class _Race(Generic[Result]):
    """One call in its caller's task, and its hedges, each in a task of its own.

    Most calls are in time, so the first one gets neither a task nor `asyncio.wait`:
    with them hedging took 5.7 us of each call, without them it takes 2.1.
    """

    __slots__ = (
        "_another",
        "_asked_at",
        "_context",
        "_ended_before",
        "_hedges",
        "_hedging",
        "caller",
        "first_failed",
        "newest_at",
        "others",
        "outcome",
    )

    def __init__(
        self,
        hedging: Hedging,
        another: Callable[[bool], Coroutine[Any, Any, Result] | None],
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.caller = task
        self.newest_at = hedging.clock()
        """When the newest of the calls began."""

        self.others: list[asyncio.Task[Result]] = []
        self.first_failed: asyncio.Future[None] | None = None
        self.outcome: Callable[[], Result] | None = None
        # When another one was asked for last, or the first began.
        self._asked_at = self.newest_at
        self._hedging = hedging
        self._another = another
        self._context = copy_context()
        self._ended_before = hedging.ended
        self._hedges = 0

    def due_at(self, *, hangs: bool = False) -> float:
        """When one more call is to be asked for."""
        doublings = 0 if hangs else max(0, self._hedges - 1)
        return self._asked_at + self._hedging.lateness.late_after * 2.0**doublings

    def look(self) -> None:
        """Begin one more call if the newest is late or hangs, or give way. While others
        find no slot, give up all hedges but the newest.
        """
        hedging = self._hedging
        hangs = hedging.hanging.is_hanging(self.newest_at)
        if hedging.crowded():
            if hangs:
                hedging.hanging.replaced()
                self.end(partial(_give_way, hedging.hanging.silent_seconds))
                return
            self.give_up(self.others[:-1])
        now = hedging.clock()
        if now < self.due_at(hangs=hangs):
            return
        self._asked_at = now
        if not (hangs or hedging.may_be_hedged(self._ended_before, self.newest_at)):
            return
        # In this call's context: the timer may be another call's.
        extra = self._context.run(self._another, hangs)
        if extra is None:
            return
        if hangs:
            hedging.hanging.replaced()
        call = asyncio.create_task(extra, context=self._context)
        call.add_done_callback(self._on_end)
        self.others.append(call)
        self.newest_at = now
        self._hedges += 1

    def _on_end(self, call: asyncio.Task[Result]) -> None:
        """A hedge has ended: see whether that decides the race."""
        conclusive = self._hedging.is_conclusive(call)
        if call not in self.others:
            return  # the race was over before
        self.others.remove(call)
        last = self.first_failed is not None and not self.others
        if conclusive or last:
            self.end(call.result)

    def end(self, outcome: Callable[[], Result]) -> None:
        """Give its caller this outcome, unless it has one."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self.first_failed is None:
            self.caller.cancel()
        elif not self.first_failed.done():
            self.first_failed.set_result(None)

    def give_up(self, hedges: list[asyncio.Task[Result]]) -> None:
        """Cancel these hedges, which are still under way."""
        loop = asyncio.get_running_loop()
        for call in hedges.copy():
            self.others.remove(call)
            # Not at once: a task cancelled before its first step would run nothing of
            # its call, and never release its slot.
            loop.call_soon(call.cancel)
            self._hedging.latency.give_up()


def _give_way(silent_seconds: float) -> NoReturn:
    raise GaveWay(silent_seconds)
