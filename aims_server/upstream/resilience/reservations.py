"""Owns the reservations of pages, and how long one more would wait."""

from collections import Counter
from collections.abc import Callable
from typing import Final, Self

from .calls import CallerKey
from .fair_queue import unverified_share
from .slot_pool import SlotPool

__all__ = ["Reservation", "Reservations"]

_WhenServed = Callable[[CallerKey, Callable[[], object]], object]

_STUDENTS: Final = (True,)
_STUDENTS_AND_OTHERS: Final = (True, False)


class Reservation:
    """The calls of a page, admitted as a whole until each has had its slot, at the
    latest until the ``with`` block ends.
    """

    __slots__ = ("_calls", "_count", "_verified", "_when_served")

    def __init__(
        self,
        count: Callable[[bool, int, int], object],
        when_served: _WhenServed,
        calls: int,
        verified: bool,
    ) -> None:
        self._count = count
        self._when_served = when_served
        self._calls = calls
        self._verified = verified
        count(verified, calls, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def verify(self) -> None:
        """Its caller has become a verified student, and counts as one from now on."""
        if self._calls and not self._verified:
            self._count(False, self._calls, -1)
            self._verified = True
            self._count(True, self._calls, 1)

    def all_made(self, caller: CallerKey) -> None:
        """This caller has made all of its calls: each has a slot or waits for one. The
        reservation ends when none waits. Calls that have their slots keep nobody out,
        though they may take long, and one of them may hang.
        """
        self._when_served(caller, self.end)

    def end(self) -> None:
        """End the reservation; a second time changes nothing."""
        if self._calls:
            self._count(self._verified, self._calls, -1)
            self._calls = 0


class Reservations:
    """A worker's reservations, and the calls reserved by others that share its slots.

    >>> from .slot_pool import SlotPools
    >>> from .fair_queue import FairQueue
    >>> queue = FairQueue(per_caller=32, slots=10)
    >>> pages = Reservations(SlotPools().of(0, size=10, share=10), queue.when_served)
    >>> page = pages.add(16, verified=False)
    >>> pages.turns(16, verified=False), pages.turns(16, verified=True)
    (2.2, 1.0)
    >>> page.all_made(CallerKey.student(1))
    >>> len(pages)
    0
    """

    def __init__(self, pool: SlotPool, when_served: _WhenServed) -> None:
        self._pool = pool
        self._when_served = when_served
        # The number of reservations by their calls; True: of verified callers.
        self._reserved: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}

    def __len__(self) -> int:
        """The number of this worker's reservations."""
        return sum(reserved.total() for reserved in self._reserved.values())

    @property
    def exist(self) -> bool:
        """Whether there is a reservation, of this worker or another."""
        others = self._pool.others_reserved
        return bool(self or others(verified=True) or others(verified=False))

    def add(self, calls: int, *, verified: bool) -> Reservation:
        """Add a reservation of so many calls."""
        return Reservation(self._count, self._when_served, calls, verified)

    def turns(self, calls: int, *, verified: bool) -> float:
        """Call times until one more reservation of so many calls, and all before it,
        would have had their slots; 0 or less if there are slots for all at once.

        A student waits for students' reservations only, if that is shorter: other
        callers have no more than the unverified share.
        """
        size = self._pool.size
        turns = self._turns_of(_STUDENTS_AND_OTHERS, calls, size)
        left = size - unverified_share(size)
        if verified and left:
            turns = min(turns, self._turns_of(_STUDENTS, calls, left))
        return turns

    def _turns_of(self, whose: tuple[bool, ...], calls: int, slots: int) -> float:
        """As `turns`, counting the reservations of verified callers (True), of others
        (False) or both.

        Callers are served in turn, so each call of the largest page waits for one call
        of every other caller, also of later ones: each page of this worker counts as
        much as the largest. A single call is over after its turn and counts as one.

        The turns of a single call (``calls`` is 1) allow for others after each single
        call before it. So each of these counts as much as the largest page, or has a
        slot that the pages cannot have, whichever makes fewer turns.
        """
        number, largest, total, elsewhere = 1, calls, calls, 0
        single = int(calls == 1)
        for verified in whose:
            reserved = self._reserved[verified]
            number += reserved.total()
            largest = max([largest, *reserved])
            single += reserved[1]
            total += _calls(reserved)
            elsewhere += self._pool.others_reserved(verified=verified)
        if total + elsewhere <= slots:
            return 0.0
        large = (number - single) * largest + elsewhere
        if calls > 1:
            return (large + single) / slots - 1
        turns = (large + single * largest) / slots
        if single < slots:
            turns = min(turns, large / (slots - single))
        return turns - 1

    def _count(self, verified: bool, calls: int, change: int) -> None:
        reserved = self._reserved[verified]
        reserved[calls] += change
        if not reserved[calls]:
            del reserved[calls]
        self._pool.publish_reserved(_calls(reserved), verified=verified)


def _calls(reserved: Counter[int]) -> int:
    """The calls of so many reservations of each size."""
    return sum(calls * number for calls, number in reserved.items())
