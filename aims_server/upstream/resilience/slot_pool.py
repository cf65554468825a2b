"""Owns the slots that all workers of a machine share, counted in memory mapped before
the fork.
"""

import mmap
from typing import Final

from ...primitives import WORKER_NUMBERS, Mutexes

__all__ = ["SlotPool", "SlotPools"]

_BYTES: Final = 8


class SlotPool:
    """One worker's part in `size` slots, of which `share` are its own.

    It may also take slots that others leave free. While another worker with less than
    its share waits, it takes no more than its own share.
    """

    def __init__(self, counts: "_Counts", number: int, size: int, share: int) -> None:
        self.size = size
        self.share = share
        self._counts = counts
        self._number = number
        counts.join(number)

    @property
    def alone(self) -> bool:
        """Whether no other worker has ever joined; then only this one frees slots."""
        return self._counts.workers == 1

    @property
    def capacity(self) -> int:
        """The slots that this worker can count on now, at least its share."""
        counts, number = self._counts, self._number
        if counts.others(counts.waiting, number):
            return self.share
        return max(self.share, self.size - counts.others(counts.in_use, number))

    def others_reservations(self, *, verified: bool) -> int:
        """The reservations of other workers (`publish_reservations`)."""
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
        # early just finds one slot less.
        self._counts.in_use[self._number] -= 1

    def publish_waiting(self, waiting: bool) -> None:
        """Tell the others whether a call waits here below this worker's share."""
        counts, number = self._counts, self._number
        counts.waiting[number] = waiting and counts.in_use[number] < self.share

    def publish_reservations(self, number: int, *, verified: bool) -> None:
        """Tell the others the number of reservations here, of verified or of other
        callers.
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
        """The pool of the worker with this number, which no other living worker has."""
        return SlotPool(self._counts, number, size, share)

    def withdraw(self, number: int) -> None:
        """Free the slots of a worker that has ended."""
        self._counts.clear(number)


class _Counts:
    """The workers' counts and their lock, which a ``with`` block holds.

    Each count has one writer and sums are always computed anew, so a worker that dies
    while writing leaves nothing wrong behind.
    """

    def __init__(self, most: int) -> None:
        self._lock = Mutexes(1)
        memory = memoryview(mmap.mmap(-1, (1 + 4 * most) * _BYTES)).cast("q")
        self._joined = memory[:1]  # above the number of every worker
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
        """One more than the highest number of a worker that has joined."""
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
