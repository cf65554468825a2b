"""Owns who holds slots, who waits for one, and whose turn it is; hands none out."""

import asyncio
from collections import deque
from typing import TypeAlias

from .callers import CallerKey

__all__ = ["FairLine", "Turn"]

Turn: TypeAlias = "asyncio.Future[None]"
"""Done when its call has a slot."""


class FairLine:
    """The holders of slots, and a line for each caller that waits.

    >>> async def example():
    ...     line = FairLine(2, slots=100)
    ...     busy, late = CallerKey.student("busy"), CallerKey.student("late")
    ...     turns = [line.join(caller) for caller in (busy, busy, busy, late)]
    ...     while (caller := line.next()) is not None:
    ...         line.serve(caller)
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
        self.unverified_share = max(1, slots // 5)
        self.in_use = 0
        self.unverified_in_use = 0
        self._fifth = slots // 5
        self._held: dict[CallerKey, int] = {}
        self._lines: dict[CallerKey, deque[Turn]] = {}
        # Whose turn it is, next first, by standing; students at their limit are in none
        # of both. The number tells which of two heads joined its ring first.
        self._rings: dict[bool, dict[CallerKey, int]] = {True: {}, False: {}}
        self._joined = 0

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._lines)

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return sum(map(len, self._lines.values()))

    def held(self, caller: CallerKey) -> int:
        """How many slots this caller has."""
        return self._held.get(caller, 0)

    def at_limit(self, caller: CallerKey) -> bool:
        """Whether it is to have no more, even if slots are free."""
        return caller.verified and self.held(caller) >= self.per_caller

    def take(self, caller: CallerKey) -> None:
        """It has one more slot."""
        self._held[caller] = self._held.get(caller, 0) + 1
        self.in_use += 1
        self.unverified_in_use += not caller.verified

    def give_back(self, caller: CallerKey) -> None:
        """It has one slot less, of those that it has."""
        left = self._held.pop(caller) - 1
        if left:
            self._held[caller] = left
        self.in_use -= 1
        self.unverified_in_use -= not caller.verified
        self._queue(caller)

    def join(self, caller: CallerKey) -> Turn:
        """Stand at the end of its line."""
        turn: Turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(turn)
        self._queue(caller)
        return turn

    def leave(self, caller: CallerKey, turn: Turn) -> None:
        """Wait no longer."""
        line = self._lines[caller]
        line.remove(turn)
        if not line:
            del self._lines[caller]
            self._rings[caller.verified].pop(caller, None)

    def serve(self, caller: CallerKey) -> None:
        """Give the first in this caller's line a slot; the next one is after all
        others' first.
        """
        del self._rings[caller.verified][caller]
        line = self._lines[caller]
        turn = line.popleft()
        if not line:
            del self._lines[caller]
        self.take(caller)
        self._queue(caller)
        turn.set_result(None)

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
        first = self.unverified_in_use < self._fifth
        return address if first or addresses[address] < students[student] else student

    def is_outranked(self, caller: CallerKey) -> bool:
        """Whether the unverified share is all that it may use now."""
        return not caller.verified and bool(self._rings[True])

    def ahead(self, caller: CallerKey, calls: int) -> int:
        """How many calls are served before so many more of this caller's, and these."""
        mine = len(self._lines.get(caller, ())) + calls
        outranked = self.is_outranked(caller)
        return mine + sum(
            min(len(line), mine)
            for other, line in self._lines.items()
            if other != caller and not (outranked and other.verified)
        )

    def above_limit(self, caller: CallerKey, calls: int) -> int:
        """How many of its own calls a student waits for, with so many more of them."""
        if not caller.verified:
            return 0
        mine = len(self._lines.get(caller, ())) + calls
        return max(0, self.held(caller) + mine - self.per_caller)

    def _next_address(self) -> CallerKey | None:
        """The next address below its limit."""
        for address in self._rings[False]:  # few can be at it, so the look is short
            if self.held(address) < self.per_caller:
                return address
        return None

    def _queue(self, caller: CallerKey) -> None:
        """Put a caller that waits at the end of its ring, unless it has its limit."""
        if caller not in self._lines:
            return
        ring = self._rings[caller.verified]
        if caller not in ring and not self.at_limit(caller):
            self._joined += 1
            ring[caller] = self._joined
