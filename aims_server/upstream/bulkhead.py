"""Owns the line for a limited number of places; knows flows, not what they want."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from ..deadline import Clock, Deadline

__all__ = ["Bulkhead", "BulkheadFull"]

_LEARNING: Final = 0.1  # weight of the newest call: about the last twenty matter
_FADING_SECONDS: Final = 30.0  # half-life of what was learnt, when nothing new comes

_Line = OrderedDict["asyncio.Future[None]", int]
_Round = OrderedDict["asyncio.Future[None]", Hashable]


class BulkheadFull(Exception):
    """The call cannot end before its deadline; `wait` seconds is the line's length."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"a slot is about {wait:.2f} s away")
        self.wait = wait


class Bulkhead:
    """Lets `size` calls run at once; the others wait in a line, fair between flows.

    The line is served in rounds. A call that must wait is put into the round after its
    flow's last waiting call, or into the next one: every flow has at most one call in
    a round, in order of arrival. That is round robin, with each call's turn known when
    it joins, so the calls ahead of it can be counted, not guessed.

    A waiting call's slot is `ahead + 1` releases away, and `size` slots are released
    `size` times per call time. The call time is an exponential mean of those told to
    `release`; what it has learnt fades back towards `first_guess`, so that one bad
    spell is not held against calls made long after. While a slot is free nobody is
    refused, however slow calls were: only calls that are made can teach.
    """

    def __init__(
        self, size: int, *, clock: Clock = time.monotonic, first_guess: float = 0.3
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        self._size = size
        self._clock = clock
        self._first_guess = first_guess
        self._learnt = first_guess
        self._learnt_at = clock()
        self._in_use = 0
        self._round = 0  # the one being served: no call joins it any more
        self._rounds: dict[int, _Round] = {}
        self._lines: dict[Hashable, _Line] = {}

    @property
    def in_use(self) -> int:
        """Slots held now."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Calls in the line now."""
        return sum(map(len, self._rounds.values()))

    @property
    def recent_seconds(self) -> float:
        """How long a call is thought to take."""
        age = self._clock() - self._learnt_at
        trust = math.exp2(-age / _FADING_SECONDS)
        return self._first_guess + trust * (self._learnt - self._first_guess)

    async def acquire(self, flow: Hashable, deadline: Deadline) -> None:
        """Take a slot, to be given back by `release`, waiting in the line of `flow`.

        Raises BulkheadFull at once if the call, as things stand, could not end before
        the deadline; and when the deadline, as last extended, passes in the line.
        """
        if self._in_use < self._size and not deadline.expired:
            self._in_use += 1
            return
        wait = self._wait(flow)
        if wait + self.recent_seconds > deadline.remaining():
            raise BulkheadFull(wait)
        turn = self._join(flow)
        try:
            while not (turn.done() or deadline.expired):
                # Asked anew each time, as the deadline may have been extended.
                await asyncio.wait([turn], timeout=deadline.remaining())
        except BaseException:
            if turn.done():  # cancelled with the slot already in hand
                self._hand_on()
            else:
                self._leave(turn, flow)
            raise
        if not turn.done():
            self._leave(turn, flow)
            raise BulkheadFull(self._wait(flow))

    def release(self, seconds: float | None) -> None:
        """Give a slot back after a call of `seconds`, or None if that teaches nothing.

        A call cut off by a time-out took as long as it took: its time must be told.
        """
        if self._in_use == 0:
            raise RuntimeError("release without acquire")
        if seconds is not None:
            believed = self.recent_seconds
            self._learnt = believed + _LEARNING * (seconds - believed)
            self._learnt_at = self._clock()
        self._hand_on()

    def _hand_on(self) -> None:
        if not self._rounds:
            self._in_use -= 1
            return
        while self._round not in self._rounds:
            self._round += 1
        turn, flow = next(iter(self._rounds[self._round].items()))
        self._leave(turn, flow)
        turn.set_result(None)

    def _wait(self, flow: Hashable) -> float:
        ahead = sum(
            len(self._rounds.get(number, ()))
            for number in range(self._round, self._next_round(flow) + 1)
        )
        return (ahead + 1) * self.recent_seconds / self._size

    def _next_round(self, flow: Hashable) -> int:
        line = self._lines.get(flow)
        return 1 + (next(reversed(line.values())) if line else self._round)

    def _join(self, flow: Hashable) -> asyncio.Future[None]:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = self._next_round(flow)
        self._lines.setdefault(flow, OrderedDict())[turn] = number
        self._rounds.setdefault(number, OrderedDict())[turn] = flow
        return turn

    def _leave(self, turn: asyncio.Future[None], flow: Hashable) -> None:
        line = self._lines[flow]
        number = line.pop(turn)
        if not line:
            del self._lines[flow]
        del self._rounds[number][turn]
        if not self._rounds[number]:
            del self._rounds[number]
