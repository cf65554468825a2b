"""Owns a worker's queue for a limited number of slots, fair between callers; makes no
call.
"""

import asyncio
import time
from typing import Final

from ...deadline import Clock, Deadline
from .call_time import CallTime
from .calls import CallerKey
from .fair_queue import FairQueue, Turn
from .reservations import Reservation, Reservations
from .slot_pool import SlotPool, SlotPools

__all__ = ["Bulkhead", "BulkheadFull"]

_LONGEST_WAIT: Final = 60.0  # seconds; a client told to wait longer does not return
_LOOK_SECONDS: Final = 0.01  # until a slot that another worker freed is noticed


class BulkheadFull(Exception):
    """The call cannot end before its deadline; a slot is `wait` seconds away."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"a slot is about {wait:.2f} s away")
        self.wait = wait


class Bulkhead:
    """Lets as many calls run at once as there are slots, a number or this worker's part
    of those of a machine; the others wait, fair between callers.

    >>> async def example():
    ...     slots, student = Bulkhead(1), CallerKey.student(1)
    ...     print(slots.try_acquire(student), slots.try_acquire(student))
    ...     asyncio.get_running_loop().call_soon(slots.release, student, 0.2)
    ...     await slots.wait_for_turn(student, Deadline(1.0))
    ...     print(slots.in_use)
    >>> asyncio.run(example())
    True False
    1

    `FairQueue` says whose turn it is.

    A slot `n` turns away is had after `n` releases, and each slot is released once per
    call time: that of `CallTime`, which learns from `release` and begins with
    `first_guess`. While a slot is free no call is refused, however slow calls were:
    only calls that are made can show that they are fast again.
    """

    def __init__(
        self,
        slots: int | SlotPool,
        *,
        per_caller: int = 32,
        clock: Clock = time.monotonic,
        first_guess: float = 0.3,
    ) -> None:
        if isinstance(slots, int):
            slots = SlotPools().of(0, size=slots, share=slots)
        self.pool = slots
        """The slots that there are; what it has taken and given back is known to it."""

        self._queue = FairQueue(per_caller, slots.share)
        self._clock = clock
        self._call_time = CallTime(first_guess, clock=clock)
        self._reservations = Reservations(self.pool)
        self._returns_until = clock()  # when the last that was refused comes back
        self._look: asyncio.TimerHandle | None = None

    def reserve(self, caller: CallerKey, calls: int, seconds: float) -> Reservation:
        """Admit so many calls as a whole, until the reservation ends; raise
        BulkheadFull if they could not all be made in so many seconds. While there are
        slots for all, nobody is refused.
        """
        turns = self._reservations.turns(calls, verified=caller.verified)
        wait = max(
            turns * self.recent_seconds,
            # An unverified caller's first call is answered, and then it is a student.
            self.wait(caller, calls if caller.verified else 1),
        )
        if wait > 0 and wait + self.recent_seconds > seconds:
            raise BulkheadFull(self._turn_away(wait, calls))
        return self._reservations.add(calls, verified=caller.verified)

    def _turn_away(self, wait: float, calls: int) -> float:
        """Seconds after which a refused reservation should be tried again: when the
        queue is empty, and after those that were refused before.
        """
        now = self._clock()
        own = calls / self.pool.capacity * self.recent_seconds
        end = max(self._returns_until, now + wait) + own
        self._returns_until = min(end, now + _LONGEST_WAIT)
        return self._returns_until - now

    @property
    def in_use(self) -> int:
        """Slots held now."""
        return self._queue.in_use

    @property
    def waiting(self) -> int:
        """Calls that wait now."""
        return self._queue.waiting

    @property
    def recent_seconds(self) -> float:
        """How long a call is thought to take."""
        return self._call_time.seconds

    def wait(self, caller: CallerKey, calls: int = 1) -> float:
        """Seconds until the last of so many calls of this caller, if they joined the
        queue now, would have its slot, as things stand.
        """
        queue = self._queue
        slots, in_use = self.pool.capacity, queue.in_use
        if queue.is_outranked(caller):
            slots = queue.unverified_share
            # What is in use above these is soon had again if students wait no longer.
            in_use = min(slots, queue.unverified_in_use)
        behind = _turns(queue.ahead(caller, calls), slots, in_use)
        left = slots - queue.unverified_share
        if caller.verified and left > 0:
            # Those of others have no more than their share while it waits.
            taken = max(queue.students_in_use, in_use - queue.unverified_share)
            ahead = queue.students_ahead(caller, calls)
            behind = min(behind, _turns(ahead, left, taken))
        turns = max(
            behind,
            # However many slots there are, it has only these.
            queue.above_limit(caller, calls) / queue.per_caller,
        )
        return turns * self.recent_seconds

    def try_acquire(self, caller: CallerKey) -> bool:
        """Take a slot, to be given back by `release`, if one is free for this caller
        now; without waiting.
        """
        if self._queue.queues:
            self._hand_out()
            if self._queue.next() is not None:
                return False
        if self._queue.at_limit(caller) or not self.pool.take():
            return False
        self._queue.take(caller)
        return True

    async def wait_for_turn(self, caller: CallerKey, deadline: Deadline) -> None:
        """Take a slot, waiting in the caller's queue, when `try_acquire` has just given
        none.

        Raises BulkheadFull at once if the call, as things stand, could not end before
        the deadline; and when the deadline, as last extended, passes meanwhile.
        """
        wait = self.wait(caller)
        if wait + self.recent_seconds > deadline.remaining():
            raise BulkheadFull(wait)
        turn = self._queue.join(caller)
        self._publish_waiting(self._queue.next() is not None)
        self._end_in_time(caller, turn, deadline)
        try:
            has_slot = await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._hand_out()
            elif turn.result():  # the slot came at the same time
                self._give_back(caller)
            raise
        finally:
            if turn.timer is not None:
                turn.timer.cancel()
        if not has_slot:
            raise BulkheadFull(self.wait(caller))

    def _end_in_time(self, caller: CallerKey, turn: Turn, deadline: Deadline) -> None:
        """End a wait at its deadline; `asyncio.wait`, which serves several futures,
        takes 5 us of each call for that, this takes 2.
        """
        left = deadline.remaining()
        if left > 0:  # or it has been extended meanwhile
            turn.timer = turn.get_loop().call_later(
                left, self._end_in_time, caller, turn, deadline
            )
        elif not turn.done():
            self._queue.leave(caller, turn)
            self._hand_out()
            turn.set_result(False)

    def release(self, caller: CallerKey, seconds: float | None) -> None:
        """Give this caller's slot back after a call of `seconds`, or None if that
        teaches nothing. Raises RuntimeError if it has none.

        A call cut off by a time-out took as long as it took: its time must be told.
        """
        self._give_back(caller)
        if seconds is not None:
            self._call_time.learn(seconds)

    def _give_back(self, caller: CallerKey) -> None:
        self._queue.give_back(caller)
        self.pool.give_back()
        if self._queue.queues:
            self._hand_out()

    def _hand_out(self) -> None:
        """Give free slots to whose turn it is."""
        while (caller := self._queue.next()) is not None and self.pool.take():
            self._queue.serve(caller)
        self._publish_waiting(caller is not None)

    def _publish_waiting(self, waits: bool) -> None:
        """Tell the other workers whether a call waits for one of their slots."""
        self.pool.publish_waiting(waits)
        if waits and self._look is None and not self.pool.alone:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        """Slots may be free that other workers have given back: they send no notice."""
        self._look = None
        self._hand_out()


def _turns(calls: int, slots: int, in_use: int) -> float:
    """Call times until so many calls have had their slots, if they can count on
    ``slots``. What is in use beyond these goes to others when it is given back.
    """
    if in_use <= slots:
        return (calls + in_use - slots) / slots
    # At first as many are given back per call time as are in use, and then `slots`.
    return max((calls + in_use - slots) / in_use, calls / slots)
