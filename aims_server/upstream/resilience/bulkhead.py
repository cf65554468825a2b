"""Owns a worker's queue for a limited number of slots, fair between callers."""

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

# Seconds. Told more while the platform hangs or is slow, a client would wait long after
# its return: if it hangs for 12 s, 95 % of the students have a whole page within 30 s,
# and within 60 s with twice as much (simulated: four students a second).
_LONGEST_WAIT: Final = 30.0
_LOOK_SECONDS: Final = 0.01  # between looks for slots that other workers have freed


class BulkheadFull(Exception):
    """The call cannot end before its deadline. Its client should come back after
    `wait` seconds, when a slot is free; they are 30 at most.
    """

    def __init__(self, wait: float) -> None:
        super().__init__(f"a slot is about {wait:.2f} s away")
        self.wait = min(wait, _LONGEST_WAIT)


class Bulkhead:
    """Lets as many calls run at once as there are slots; the others wait, fair between
    callers. ``slots`` is a number, or this worker's part in the machine's slots.

    >>> async def example():
    ...     slots, student = Bulkhead(1), CallerKey.student(1)
    ...     print(slots.try_acquire(student), slots.try_acquire(student))
    ...     asyncio.get_running_loop().call_soon(slots.release, student, 0.2)
    ...     await slots.wait_for_turn(student, Deadline(1.0))
    ...     print(slots.in_use)
    >>> asyncio.run(example())
    True False
    1

    `FairQueue` decides whose turn it is.

    Waits are estimated: the n-th call in the queue gets its slot after `n` releases,
    and each slot is released once per `CallTime`, which learns from `release` and
    begins with `first_guess`. While a slot is free no call is refused, however slow
    calls were: only calls that are made can show that they are fast again.
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
        """The slots, with those that this worker has taken."""

        self._queue = FairQueue(per_caller, slots.share)
        self._clock = clock
        self._call_time = CallTime(first_guess, clock=clock)
        self._reservations = Reservations(self.pool, self._queue.when_served)
        self._returns_until = clock()  # when the last refused client will come back
        self._look: asyncio.TimerHandle | None = None

    def reserve(self, caller: CallerKey, calls: int, seconds: float) -> Reservation:
        """Admit so many ``calls`` as a whole, until the reservation ends: a single one,
        or one and then all the others at once.

        Raises BulkheadFull if not all could be made within ``seconds``; but never if
        there are slots for all of them, nor, while any slot is free, for a single call
        or while nothing is reserved.
        """
        turns = self._reservations.turns(calls, verified=caller.verified)
        wait = max(
            turns * self.recent_seconds,
            # An unverified caller becomes a student with its first call's answer.
            self.wait(caller, calls if caller.verified else 1),
        )
        trips = 1 if calls == 1 else 2
        late = wait > 0 and wait + trips * self.recent_seconds > seconds
        # A page that was admitted just now has yet to take its first slot.
        taken = max(self._queue.in_use, len(self._reservations))
        slot_is_free = taken < self.pool.capacity
        # Of what is reserved most calls may be made, and one of them hang.
        needs_no_estimate = calls == 1 or not self._reservations.exist
        if late and not (slot_is_free and needs_no_estimate):
            raise BulkheadFull(self._turn_away(wait, calls))
        return self._reservations.add(calls, verified=caller.verified)

    def _turn_away(self, wait: float, calls: int) -> float:
        """Seconds after which a refused client should come back: when the queue is
        empty, and after the clients refused before it.
        """
        now = self._clock()
        own = calls / self.pool.capacity * self.recent_seconds
        end = max(self._returns_until, now + wait) + own
        self._returns_until = min(end, now + _LONGEST_WAIT)
        return self._returns_until - now

    @property
    def in_use(self) -> int:
        """The number of slots held now."""
        return self._queue.in_use

    @property
    def waiting(self) -> int:
        """The number of calls that wait now."""
        return self._queue.waiting

    @property
    def is_waited_for(self) -> bool:
        """Whether a call waits for a slot, here or below another worker's share."""
        return bool(self._queue.queues) or self.pool.others_wait

    @property
    def recent_seconds(self) -> float:
        """The expected seconds of a call."""
        return self._call_time.seconds

    def wait(self, caller: CallerKey, calls: int = 1) -> float:
        """Estimated seconds until the last of so many ``calls`` of this caller would
        have its slot, if they joined the queue now.
        """
        queue = self._queue
        slots, in_use = self.pool.capacity, queue.in_use
        if queue.is_outranked(caller):
            slots = queue.unverified_share
            # What is in use above the share is free again once no student waits.
            in_use = min(slots, queue.unverified_in_use)
        behind = _turns(queue.ahead(caller, calls), slots, in_use)
        left = slots - queue.unverified_share
        if caller.verified and left > 0:
            # While a student waits, other callers have no more than their share.
            taken = max(queue.students_in_use, in_use - queue.unverified_share)
            ahead = queue.students_ahead(caller, calls)
            behind = min(behind, _turns(ahead, left, taken))
        turns = max(
            behind,
            # However many slots there are, this caller has only `per_caller`.
            queue.above_limit(caller, calls) / queue.per_caller,
        )
        return turns * self.recent_seconds

    def try_acquire(self, caller: CallerKey) -> bool:
        """Take a slot if one is free for this caller now; `release` returns it."""
        if self._queue.queues:
            self._hand_out()  # whoever waits is due before
        if self._queue.at_limit(caller) or not self.pool.take():
            return False
        self._queue.take(caller)
        return True

    async def wait_for_turn(self, caller: CallerKey, deadline: Deadline) -> None:
        """Wait in the caller's queue for a slot, after `try_acquire` has returned
        False.

        Raises BulkheadFull at once if the call could probably not end before the
        deadline, and when the deadline, which may be extended, passes meanwhile.
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
        """End a wait at its deadline. This takes 2 us of each call, `asyncio.wait`
        would take 5.
        """
        left = deadline.remaining()
        if left > 0:  # the first time, or the deadline was extended meanwhile
            turn.timer = turn.get_loop().call_later(
                left, self._end_in_time, caller, turn, deadline
            )
        elif not turn.done():
            self._queue.leave(caller, turn)
            self._hand_out()
            turn.set_result(False)

    def release(self, caller: CallerKey, seconds: float | None) -> None:
        """Return this caller's slot after a call of `seconds`; None if its time teaches
        nothing. Raises RuntimeError if the caller has no slot.

        The time of a call that ended at a time-out must be told, too.
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
        """Give the free slots to those whose turn it is."""
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
        """Look for slots that other workers have freed without a notice."""
        self._look = None
        self._hand_out()


def _turns(calls: int, slots: int, in_use: int) -> float:
    """Call times until so many calls have had their slots, if they can count on
    ``slots``. Slots in use beyond these go to others when they are released.
    """
    if in_use <= slots:
        return (calls + in_use - slots) / slots
    # In the first call time all that are in use are released, after that `slots` each.
    return max((calls + in_use - slots) / in_use, calls / slots)
