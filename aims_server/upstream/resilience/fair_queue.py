"""Owns which callers hold slots or wait, and whose turn it is; hands none out."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from .calls import CallerKey

__all__ = ["FairQueue", "Turn", "unverified_share"]

_UNVERIFIED_PART: Final = 5


def unverified_share(slots: int) -> int:
    """How many of so many slots callers that are not verified have while students wait:
    a fifth, and at least one.
    """
    return max(1, slots // _UNVERIFIED_PART)


class Turn(asyncio.Future[bool]):
    """Tells whether its call has a slot; cancelled, it leaves its queue at once. The
    ``timer``, which the caller sets, limits the wait.
    """

    timer: asyncio.TimerHandle | None = None

    def __init__(self, leave: "Callable[[Turn], object]") -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._leave = leave

    def cancel(self, msg: object = None) -> bool:
        """Wait no longer."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._leave(self)
        return cancelled


class FairQueue:
    """The holders of slots, and a queue for each caller that waits.

    >>> async def example():
    ...     queue = FairQueue(2, slots=100)
    ...     busy, late = CallerKey.student("busy"), CallerKey.student("late")
    ...     turns = [queue.join(caller) for caller in (busy, busy, busy, late)]
    ...     while (caller := queue.next()) is not None:
    ...         queue.serve(caller)
    ...         print(caller.key)
    ...     return [turn.done() for turn in turns]
    >>> asyncio.run(example())
    busy
    late
    busy
    [True, True, False, True]

    Callers are served in turn, one call each (round robin). A verified student has at
    most `per_caller` slots, even if some are free; an address likewise while others
    wait. Unverified callers together have a fifth of `slots` while verified students
    wait, and no more.
    """

    def __init__(self, per_caller: int, slots: int) -> None:
        self.per_caller = per_caller
        self.unverified_share = unverified_share(slots)
        self.in_use = 0
        self.unverified_in_use = 0
        self._has_fifth = slots >= _UNVERIFIED_PART
        self._held: dict[CallerKey, int] = {}
        self.queues: dict[CallerKey, deque[Turn]] = {}
        """The calls that wait, by their callers; none is empty."""

        # How many verified callers, and others, have more than 0, 1, 2... calls that
        # wait. To look at each queue for it takes 40 us in a crowd of 500.
        self._longer: dict[bool, list[int]] = {True: [], False: []}
        # Callers that wait, the next first: verified ones and others, without students
        # at their limit. The number tells which of two heads joined its ring first.
        self._rings: dict[bool, dict[CallerKey, int]] = {True: {}, False: {}}
        self._joined = 0

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return sum(map(sum, self._longer.values()))

    def held(self, caller: CallerKey) -> int:
        """How many slots this caller has."""
        return self._held.get(caller, 0)

    def at_limit(self, caller: CallerKey) -> bool:
        """Whether this caller is to have no more slots, even if some are free."""
        return caller.verified and self._held.get(caller, 0) >= self.per_caller

    def take(self, caller: CallerKey) -> None:
        """Count one more slot that this caller holds."""
        self._held[caller] = self._held.get(caller, 0) + 1
        self.in_use += 1
        self.unverified_in_use += not caller.verified

    def give_back(self, caller: CallerKey) -> None:
        """Count one slot less of this caller's; raises RuntimeError if it held none."""
        held = self._held.pop(caller, 0)
        if held > 1:
            self._held[caller] = held - 1
        elif not held:
            raise RuntimeError("a slot given back that was not taken")
        self.in_use -= 1
        self.unverified_in_use -= not caller.verified
        self._enqueue(caller)

    def join(self, caller: CallerKey) -> Turn:
        """Add a call to the end of its caller's queue."""
        turn = Turn(partial(self.leave, caller))
        queue = self.queues.setdefault(caller, deque())
        longer = self._longer[caller.verified]
        if len(queue) == len(longer):
            longer.append(0)
        longer[len(queue)] += 1
        queue.append(turn)
        self._enqueue(caller)
        return turn

    def leave(self, caller: CallerKey, turn: Turn) -> None:
        """Remove a call from its caller's queue."""
        queue = self.queues[caller]
        queue.remove(turn)
        self._shortened(caller, queue)
        if not queue:
            self._rings[caller.verified].pop(caller, None)

    def serve(self, caller: CallerKey) -> None:
        """Give the first of this caller's calls a slot; its next one comes after the
        first of every other caller.
        """
        del self._rings[caller.verified][caller]
        queue = self.queues[caller]
        turn = queue.popleft()
        self._shortened(caller, queue)
        self.take(caller)
        self._enqueue(caller)
        turn.set_result(True)

    def next(self) -> CallerKey | None:
        """Whose turn it is; None while all who wait, if any do, are at their limit."""
        students, addresses = self._rings[True], self._rings[False]
        student = next(iter(students), None)
        if student is None:
            return self._next_address() or next(iter(addresses), None)
        if self.unverified_in_use >= self.unverified_share:
            return student
        address = self._next_address()
        if address is None:
            return student
        # Up to their share they come first, or a crowd behind one address would have
        # one turn among all students; where a fifth is no slot, it is by turns.
        if self._has_fifth or addresses[address] < students[student]:
            return address
        return student

    def is_outranked(self, caller: CallerKey) -> bool:
        """Whether this caller is unverified while students wait: all such callers have
        the unverified share then, and no more.
        """
        return not caller.verified and bool(self._rings[True])

    def ahead(self, caller: CallerKey, calls: int) -> int:
        """How many calls would be served until so many more of this caller's have been,
        these included, if they joined its queue now.
        """
        # Of each other queue as many as it will have itself, if there are so many.
        mine = len(self.queues.get(caller, ())) + calls
        ahead = calls + sum(self._longer[False][:mine])
        if not self.is_outranked(caller):
            ahead += sum(self._longer[True][:mine])
        return ahead

    def students_ahead(self, caller: CallerKey, calls: int) -> int:
        """As `ahead`, for a student, counting students' calls alone."""
        mine = len(self.queues.get(caller, ())) + calls
        return calls + sum(self._longer[True][:mine])

    @property
    def students_in_use(self) -> int:
        """How many slots verified callers have."""
        return self.in_use - self.unverified_in_use

    def above_limit(self, caller: CallerKey, calls: int) -> int:
        """How many of its own calls would have to end first, if so many more of a
        student's joined its queue now: it holds `per_caller` slots at most.
        """
        if not caller.verified:
            return 0
        mine = len(self.queues.get(caller, ())) + calls
        return max(0, self.held(caller) + mine - self.per_caller)

    def _shortened(self, caller: CallerKey, queue: deque[Turn]) -> None:
        """Note that a call has left this queue."""
        self._longer[caller.verified][len(queue)] -= 1
        if not queue:
            del self.queues[caller]

    def _next_address(self) -> CallerKey | None:
        """The next address below its limit."""
        for address in self._rings[False]:  # few can be at it, so this ends soon
            if self.held(address) < self.per_caller:
                return address
        return None

    def _enqueue(self, caller: CallerKey) -> None:
        """Put a caller that waits at the end of its ring, unless it has its limit."""
        if caller not in self.queues:
            return
        ring = self._rings[caller.verified]
        if caller not in ring and not self.at_limit(caller):
            self._joined += 1
            ring[caller] = self._joined
