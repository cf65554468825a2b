"""The slots for calls that all workers of a machine share, counted in memory mapped
before the fork; which worker may take one more.
"""

import mmap
from typing import Final

from ...primitives import WORKER_NUMBERS, Mutexes

__all__ = ["SlotPool", "SlotPools"]

_BYTES: Final = 8


class SlotPool:
    """One worker's part in `size` slots, of which `share` are its own.

    It takes what others leave free as well, but while another worker that has less
    than its share is waiting, no more than its own share.
    """

    def __init__(self, counts: "_Counts", number: int, size: int, share: int) -> None:
        self.size = size
        self.share = share
        self._counts = counts
        self._number = number
        counts.join(number)

    @property
    def alone(self) -> bool:
        """Whether no other worker has ever taken part: a slot that was taken is then
        free only when it is given back here.
        """
        return self._counts.workers == 1

    @property
    def capacity(self) -> int:
        """How many slots this worker can count on now: at least its share."""
        counts, number = self._counts, self._number
        if counts.others(counts.waiting, number):
            return self.share
        return max(self.share, self.size - counts.others(counts.in_use, number))

    def others_reservations(self, *, verified: bool) -> int:
        """Reservations that other workers have admitted; see `publish_reservations`."""
        counts = self._counts
        return counts.others(counts.reservations[verified], self._number)

    def take(self) -> bool:
        """Take a slot if one is free for this worker."""
        counts, number = self._counts, self._number
        with counts:
            taken = sum(counts.in_use[: counts.workers])
            mine = counts.in_use[number]
            if taken >= self.size or (
                mine >= self.share and counts.others(counts.waiting, number)
            ):
                return False
            counts.in_use[number] = mine + 1
        return True

    def give_back(self) -> None:
        """Free a slot that was taken here."""
        # Without the lock: no other worker writes this count, and one that reads it too
        # early only finds a slot less.
        self._counts.in_use[self._number] -= 1

    def publish_waiting(self, waiting: bool) -> None:
        """Tell the others whether calls wait here; they matter below its share."""
        counts, number = self._counts, self._number
        counts.waiting[number] = waiting and counts.in_use[number] < self.share

    def publish_reservations(self, number: int, *, verified: bool) -> None:
        """Tell the others how many reservations of verified, or of other, callers have
        been admitted here.
        """
        self._counts.reservations[verified][self._number] = number


class SlotPools:
    """The pools of all workers of a machine; made before the fork.

    >>> pools = SlotPools()
    >>> first, second = pools.of(0, size=4, share=2), pools.of(1, size=4, share=2)
    >>> [first.take() for _ in range(5)]
    [True, True, True, True, False]
    >>> second.take()
    False
    >>> second.publish_waiting(True)
    >>> first.give_back()
    >>> first.take(), second.take()
    (False, True)
    """

    def __init__(self) -> None:
        self._counts = _Counts(WORKER_NUMBERS)

    def of(self, number: int, *, size: int, share: int) -> SlotPool:
        """The pool of the worker with this number, which no other living one has."""
        return SlotPool(self._counts, number, size, share)

    def withdraw(self, number: int) -> None:
        """Free what the worker with this number has taken: it has ended."""
        self._counts.clear(number)


class _Counts:
    """The workers' counts, behind one lock; a context manager holds it.

    Each is written by one worker and the sums are made anew, so that one which died
    while it was writing leaves nothing wrong behind.
    """

    def __init__(self, most: int) -> None:
        self._lock = Mutexes(1)
        memory = memoryview(mmap.mmap(-1, (1 + 4 * most) * _BYTES)).cast("q")
        self._joined = memory[:1]  # no worker has this number, or a higher one
        self.in_use = memory[1 : 1 + most]
        self.waiting = memory[1 + most : 1 + 2 * most]
        # Of verified callers and of others.
        self.reservations = {
            True: memory[1 + 2 * most : 1 + 3 * most],
            False: memory[1 + 3 * most :],
        }

    def __enter__(self) -> None:
        self._lock.acquire(0)

    def __exit__(self, *_: object) -> None:
        self._lock.release(0)

    @property
    def workers(self) -> int:
        """How many have joined, at most."""
        return self._joined[0]

    def join(self, number: int) -> None:
        with self:
            self._joined[0] = max(self._joined[0], number + 1)

    def clear(self, number: int) -> None:
        with self:
            for counts in (self.in_use, self.waiting, *self.reservations.values()):
                counts[number] = 0

    def others(self, counts: "memoryview[int]", number: int) -> int:
        return sum(counts[: self._joined[0]]) - counts[number]
