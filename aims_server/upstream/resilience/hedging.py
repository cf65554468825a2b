"""Owns whether a late call gets another one beside it, and which of them wins; makes no
call itself (J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013; gRPC's A6).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from itertools import takewhile
from math import inf
from typing import Any, Final, Generic, TypeVar

from ...deadline import Clock
from .lateness import Lateness

__all__ = ["Hedging"]

Result = TypeVar("Result")

# Late calls are exceptions while they are at most this share of the calls that were
# answered meanwhile. Where one call in twenty hangs, a page in eighty lacks a subject
# at a fifth, and one in four hundred at a half (simulated as in
# tests/upstream/test_slow_days.py).
_EXCEPTIONS: Final = 0.5
_COPIES: Final = 3  # of one call at most, itself included
_LOOK_AGAIN: Final = 0.25  # seconds between two looks while there are too few answers


class Hedging:
    """Runs a call, and up to two more beside it when it is late.

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

    `Lateness` says when a call is late, after `soonest` seconds at the earliest.
    `another` is then asked for one more call. It may give None (no slot is free, the
    budget is used up), and is asked again after as long. A third call follows a second
    that is late as well.

    When all calls become slow the quantiles follow, and none is late any more. Until
    then a late one is left alone unless it is an exception: beside it, no more are late
    than half of those that were answered since it began.

    The first answer wins, and the others are cancelled. So does the first error, unless
    it is `inconclusive`: another call might fare better, and is waited for.
    """

    def __init__(
        self,
        *,
        inconclusive: tuple[type[Exception], ...] = (),
        soonest: float = 0.25,
        clock: Clock = time.monotonic,
    ) -> None:
        self.lateness = Lateness(soonest)
        self.latency = self.lateness.latency
        """To be told how long each call took that was answered."""

        self._inconclusive = inconclusive
        self.clock = clock
        self.ended = 0
        self._began: dict[_Race[Any], float] = {}  # of calls under way, in order
        # One timer for all: one for each call, mostly cancelled, took 3 us of it.
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = inf

    @property
    def callers(self) -> list[asyncio.Task[Any]]:
        """The tasks whose calls are under way."""
        return [race.caller for race in self._began]

    async def run(
        self,
        first: Coroutine[Any, Any, Result],
        another: Callable[[], Coroutine[Any, Any, Result] | None],
    ) -> Result:
        """The first result of these calls, or final error, or the last one's error."""
        race = _Race(self, another)
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
                if race.winner is None or race.caller.uncancel():
                    raise  # it was cancelled from outside
            assert race.winner is not None
            return race.winner.result()
        finally:
            self.ended += 1
            del self._began[race]
            if race.others:
                race.give_up_others()
            del race  # it holds this task; an error's traceback holds this frame

    def _look_by(self, moment: float) -> None:
        """Look at the calls under way at this moment, if not before."""
        if moment < self._look_at:
            if self._timer is not None:
                self._timer.cancel()
            self._look_at = moment
            left = moment - self.clock()
            self._timer = asyncio.get_running_loop().call_later(left, self._look)

    def _look(self) -> None:
        self._timer, self._look_at = None, inf
        for race in list(self._began):
            if race.started < _COPIES:
                race.look()
                late_at = race.newest_at + self.lateness.late_after
                self._look_by(late_at if late_at < inf else self.clock() + _LOOK_AGAIN)

    def is_conclusive(self, call: asyncio.Task[Any]) -> bool:
        """Whether another call would end no better than this one has."""
        return call.cancelled() or not isinstance(call.exception(), self._inconclusive)

    def may_be_hedged(self, ended: int) -> bool:
        """Whether so few calls are late that each is an exception, beside those that
        ended since there were so many ``ended`` ones.
        """
        moment = self.clock() - self.lateness.late_after
        late = sum(1 for _ in takewhile(moment.__ge__, self._began.values()))
        return late <= 1 + _EXCEPTIONS * (self.ended - ended)

    def is_late(self, newest_at: float) -> bool:
        """Whether a call that was made then is late, as things stand."""
        return self.clock() >= newest_at + self.lateness.late_after


class _Race(Generic[Result]):
    """One call in its caller's task, and those beside it, each in a task of its own.

    Most calls are in time, so the first one gets neither a task nor `asyncio.wait`:
    with these hedging took 5.7 us of each call, without them 2.1.
    """

    __slots__ = (
        "_another",
        "_context",
        "_ended_before",
        "_hedging",
        "caller",
        "first_failed",
        "newest_at",
        "others",
        "started",
        "winner",
    )

    def __init__(
        self,
        hedging: Hedging,
        another: Callable[[], Coroutine[Any, Any, Result] | None],
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.caller = task
        self.newest_at = hedging.clock()
        self.others: set[asyncio.Task[Result]] = set()
        self.first_failed: asyncio.Future[None] | None = None
        self.winner: asyncio.Task[Result] | None = None
        self._hedging = hedging
        self._another = another
        self._context = copy_context()
        self._ended_before = hedging.ended
        self.started = 1

    def look(self) -> None:
        """Have one more call if the newest is late."""
        hedging = self._hedging
        if hedging.is_late(self.newest_at):
            self.newest_at = hedging.clock()
            if hedging.may_be_hedged(self._ended_before):
                # In the context of this call: the timer may be another call's.
                self._start(self._context.run(self._another))

    def _start(self, extra: Coroutine[Any, Any, Result] | None) -> None:
        if extra is not None:
            call = asyncio.create_task(extra, context=self._context)
            call.add_done_callback(self._on_end)
            self.others.add(call)
            self.started += 1

    def _on_end(self, call: asyncio.Task[Result]) -> None:
        """One of the others has ended: see whether that decides it."""
        conclusive = self._hedging.is_conclusive(call)
        if call not in self.others:
            return  # it was over before
        self.others.remove(call)
        if self.winner is not None:
            return
        if self.first_failed is None:
            if conclusive:
                self.winner = call
                self.caller.cancel()
        elif conclusive or not self.others:
            self.winner = call
            if not self.first_failed.done():
                self.first_failed.set_result(None)

    def give_up_others(self) -> None:
        """End the calls that are still under way beside the first."""
        loop = asyncio.get_running_loop()
        for call in self.others:
            # Not now: a task that is cancelled before its first step runs nothing of
            # its call, which would hold its slot for ever.
            loop.call_soon(call.cancel)
            self._hedging.latency.give_up()
        self.others.clear()
