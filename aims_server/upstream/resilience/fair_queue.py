"""Owns which callers hold slots or wait for them, and whose turn it is."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from .calls import CallerKey

__all__ = ["FairQueue", "Turn", "unverified_share"]

_UNVERIFIED_PART: Final = 5


def unverified_share(slots: int) -> int:
    """The number of slots for unverified callers while students wait: a fifth of
    ``slots``, at least one.
    """
    return max(1, slots // _UNVERIFIED_PART)


class Turn(asyncio.Future[bool]):
    """The future of a waiting call: whether it gets a slot. Cancelling it removes it
    from its queue at once. ``timer``, set by the caller, limits the wait.
    """

    timer: asyncio.TimerHandle | None = None

    def __init__(self, leave: "Callable[[Turn], object]") -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._leave = leave

    def cancel(self, msg: object = None) -> bool:
        """Stop waiting."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._leave(self)
        return cancelled


class FairQueue:
    """The callers that hold slots, and a queue for each caller that waits.

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
    most `per_caller` slots, even if more are free; an address too while others wait.
    While verified students wait, all unverified callers together have a fifth of
    `slots`.
    """

    def __init__(self, per_caller: int, slots: int) -> None:
        self.per_caller = per_caller
        self.unverified_share = unverified_share(slots)
        self.in_use = 0
        self.unverified_in_use = 0
        self._has_fifth = slots >= _UNVERIFIED_PART
        self._held: dict[CallerKey, int] = {}
        self.queues: dict[CallerKey, deque[Turn]] = {}
        """The waiting calls by caller; no queue is empty."""

        self._when_served: dict[CallerKey, list[Callable[[], object]]] = {}
        # The number of verified callers (True), and of others, that have more than 0,
        # 1, 2... waiting calls. Looking at each queue takes 40 us in a crowd of 500.
        self._longer: dict[bool, list[int]] = {True: [], False: []}
        # The waiting callers, verified and others, the next one first; without students
        # at their limit. The number tells which of two callers joined its ring first.
        self._rings: dict[bool, dict[CallerKey, int]] = {True: {}, False: {}}
        self._joined = 0

    @property
    def waiting(self) -> int:
        """The number of waiting calls."""
        return sum(map(sum, self._longer.values()))

    def held(self, caller: CallerKey) -> int:
        """The number of slots that this caller has."""
        return self._held.get(caller, 0)

    def at_limit(self, caller: CallerKey) -> bool:
        """Whether this caller gets no more slots, even if some are free."""
        return caller.verified and self._held.get(caller, 0) >= self.per_caller

    def take(self, caller: CallerKey) -> None:
        """Count one more slot of this caller."""
        self._held[caller] = self._held.get(caller, 0) + 1
        self.in_use += 1
        self.unverified_in_use += not caller.verified

    def give_back(self, caller: CallerKey) -> None:
        """Count one slot less of this caller; raises RuntimeError if it has none."""
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

    def when_served(self, caller: CallerKey, action: Callable[[], object]) -> None:
        """Call ``action`` as soon as no call of this caller waits, perhaps now."""
        if caller in self.queues:
            self._when_served.setdefault(caller, []).append(action)
        else:
            action()

    def serve(self, caller: CallerKey) -> None:
        """Give this caller's first call a slot; its next one comes after the first call
        of every other caller.
        """
        del self._rings[caller.verified][caller]
        queue = self.queues[caller]
        turn = queue.popleft()
        self._shortened(caller, queue)
        self.take(caller)
        self._enqueue(caller)
        turn.set_result(True)

    def next(self) -> CallerKey | None:
        """Whose turn it is; None if nobody waits or all who do are at their limit."""
        students, addresses = self._rings[True], self._rings[False]
        student = next(iter(students), None)
        if student is None:
            return self._next_address() or next(iter(addresses), None)
        if self.unverified_in_use >= self.unverified_share:
            return student
        address = self._next_address()
        if address is None:
            return student
        # Addresses come first up to their share: otherwise a crowd behind one address
        # had one turn among all students. With fewer than five slots they take turns.
        if self._has_fifth or addresses[address] < students[student]:
            return address
        return student

    def is_outranked(self, caller: CallerKey) -> bool:
        """Whether this caller is unverified while students wait, and so limited to the
        unverified share.
        """
        return not caller.verified and bool(self._rings[True])

    def ahead(self, caller: CallerKey, calls: int) -> int:
        """The number of calls to be served until so many more ``calls`` of this caller
        have been served, themselves included, if they joined its queue now.
        """
        # From each other queue as many as this caller will have in its own.
        mine = len(self.queues.get(caller, ())) + calls
        ahead = calls + sum(self._longer[False][:mine])
        if not self.is_outranked(caller):
            ahead += sum(self._longer[True][:mine])
        return ahead

    def students_ahead(self, caller: CallerKey, calls: int) -> int:
        """As `ahead`, for a student; counts only students' calls."""
        mine = len(self.queues.get(caller, ())) + calls
        return calls + sum(self._longer[True][:mine])

    @property
    def students_in_use(self) -> int:
        """The number of slots that verified callers have."""
        return self.in_use - self.unverified_in_use

    def above_limit(self, caller: CallerKey, calls: int) -> int:
        """The number of a student's own calls that must end first if so many more
        joined its queue now, since it has at most `per_caller` slots.
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
            for action in self._when_served.pop(caller, ()):
                action()

    def _next_address(self) -> CallerKey | None:
        """The next address below its limit."""
        for address in self._rings[False]:  # few are at their limit: this ends soon
            if self.held(address) < self.per_caller:
                return address
        return None

    def _enqueue(self, caller: CallerKey) -> None:
        """Put a waiting caller at the end of its ring, unless it is at its limit."""
        if caller not in self.queues:
            return
        ring = self._rings[caller.verified]
        if caller not in ring and not self.at_limit(caller):
            self._joined += 1
            ring[caller] = self._joined
