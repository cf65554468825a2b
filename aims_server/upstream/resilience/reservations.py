"""Owns the pages whose calls were admitted as a whole, and how long one more waits."""

from collections import Counter
from collections.abc import Callable
from typing import Final, Self

from .fair_queue import unverified_share
from .slot_pool import SlotPool

__all__ = ["Reservation", "Reservations"]

_STUDENTS: Final = (True,)
_STUDENTS_AND_OTHERS: Final = (True, False)


class Reservation:
    """The calls of a page that were admitted as a whole, until its block is over."""

    __slots__ = ("_calls", "_count", "_verified")

    def __init__(
        self, count: Callable[[bool, int, int], object], calls: int, verified: bool
    ) -> None:
        self._count = count
        self._calls = calls
        self._verified = verified
        count(verified, calls, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def verify(self) -> None:
        """Its caller is a student by now: other students wait for its calls too."""
        if not self._verified:
            self.end()
            self._verified = True
            self._count(True, self._calls, 1)

    def end(self) -> None:
        """It is over."""
        self._count(self._verified, self._calls, -1)


class Reservations:
    """A worker's reservations, counted beside those of the others that share its slots.

    >>> from .slot_pool import SlotPools
    >>> pages = Reservations(SlotPools().of(0, size=10, share=10))
    >>> page = pages.add(16, verified=False)
    >>> pages.turns(16, verified=False), pages.turns(16, verified=True)
    (2.2, 1.0)
    >>> page.end()
    >>> len(pages)
    0
    """

    def __init__(self, pool: SlotPool) -> None:
        self._pool = pool
        # How many of verified callers and of others, by their calls.
        self._reserved: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}

    def __len__(self) -> int:
        """How many this worker has."""
        return sum(reserved.total() for reserved in self._reserved.values())

    def add(self, calls: int, *, verified: bool) -> Reservation:
        """One of so many calls, until it is ended."""
        return Reservation(self._count, calls, verified)

    def turns(self, calls: int, *, verified: bool) -> float:
        """After how many call times one more reservation, of so many calls, would have
        had its slots, with all that were made before; 0 or less if there are slots for
        all of them at once.

        A student waits for other students' reservations alone if that is sooner, since
        those of other callers have no more than the unverified share.
        """
        size = self._pool.size
        turns = self._turns_of(_STUDENTS_AND_OTHERS, calls, size)
        left = size - unverified_share(size)
        if verified and left:
            turns = min(turns, self._turns_of(_STUDENTS, calls, left))
        return turns

    def _turns_of(self, whose: tuple[bool, ...], calls: int, slots: int) -> float:
        """The same, counting the reservations of verified callers, or of others, as
        ``whose`` says. Each counts as if it were as large as the largest: since callers
        are served in turn, every call of the largest waits for one call of each other
        caller, also of those who come later.
        """
        number, largest = 1, calls
        for verified in whose:
            reserved = self._reserved[verified]
            others = self._pool.others_reservations(verified=verified)
            number += reserved.total() + others
            largest = max([largest, *reserved])
        return (number * largest - slots) / slots

    def _count(self, verified: bool, calls: int, change: int) -> None:
        reserved = self._reserved[verified]
        reserved[calls] += change
        if not reserved[calls]:
            del reserved[calls]
        self._pool.publish_reservations(reserved.total(), verified=verified)
