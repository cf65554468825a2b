"""Owns the slots that all workers of a machine share, counted in memory mapped before
the fork.
"""

import mmap
from typing import Final

from ...primitives import WORKER_NUMBERS, mutexes

__all__ = ["SlotPool", "SlotPools"]

_BYTES: Final = 8


class SlotPool:
    """One worker's part in `size` slots, of which `share` are its own.

    It may also take slots that others leave free. While another worker with less than
    its share waits, it takes no more than its own share.
    """

    def __init__(self, pools: "SlotPools", number: int, size: int, share: int) -> None:
        self.size = size
        self.share = share
        self._pools = pools
        self._number = number

    @property
    def alone(self) -> bool:
        """Whether no other worker has ever joined; then only this one frees slots."""
        return self._pools.workers == 1

    @property
    def capacity(self) -> int:
        """The slots that this worker can count on now, at least its share."""
        if self.others_wait:
            return self.share
        others = self._pools.others(self._pools.in_use, self._number)
        return max(self.share, self.size - others)

    @property
    def others_wait(self) -> bool:
        """Whether a call waits in another worker that is below its share."""
        return bool(self._pools.others(self._pools.waiting, self._number))

    def others_reserved(self, *, verified: bool) -> int:
        """The calls that other workers have reserved (`publish_reserved`)."""
        pools = self._pools
        return pools.others(pools.reserved[verified], self._number)

    @property
    def is_full(self) -> bool:
        """Whether no slot is free for this worker now."""
        pools, number = self._pools, self._number
        mine = pools.in_use[number]
        return sum(pools.in_use[: pools.workers]) >= self.size or (
            mine >= self.share and self.others_wait
        )

    def take(self) -> bool:
        """Take a slot if one is free for this worker."""
        with self._pools.lock:
            if self.is_full:
                return False
            self._pools.in_use[self._number] += 1
        return True

    def give_back(self) -> None:
        """Free a slot that was taken here."""
        # Without the lock: no other worker writes this count, and one that reads it too
        # early just finds one slot less.
        self._pools.in_use[self._number] -= 1

    def publish_waiting(self, waiting: bool) -> None:
        """Tell the others whether a call waits here below this worker's share."""
        pools, number = self._pools, self._number
        pools.waiting[number] = waiting and pools.in_use[number] < self.share

    def publish_reserved(self, calls: int, *, verified: bool) -> None:
        """Tell the others how many calls are reserved here, of verified or of other
        callers.
        """
        self._pools.reserved[verified][self._number] = calls


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

    Each count has one writer and sums are always computed anew, so a worker that dies
    while writing leaves nothing wrong behind.
    """

    def __init__(self) -> None:
        (self.lock,) = mutexes(1)
        most = WORKER_NUMBERS
        memory = memoryview(mmap.mmap(-1, (1 + 4 * most) * _BYTES)).cast("q")
        self._joined = memory[:1]  # above the number of every worker
        self.in_use = memory[1 : 1 + most]
        self.waiting = memory[1 + most : 1 + 2 * most]
        # Of verified callers and of others.
        self.reserved = {
            True: memory[1 + 2 * most : 1 + 3 * most],
            False: memory[1 + 3 * most :],
        }

    def of(self, number: int, *, size: int, share: int) -> SlotPool:
        """The pool of the worker with this number, which no other living worker has."""
        with self.lock:
            self._joined[0] = max(self._joined[0], number + 1)
        return SlotPool(self, number, size, share)

    def withdraw(self, number: int) -> None:
        """Free the slots of a worker that has ended."""
        with self.lock:
            for counts in (self.in_use, self.waiting, *self.reserved.values()):
                counts[number] = 0

    @property
    def workers(self) -> int:
        """One more than the highest number of a worker that has joined."""
        return self._joined[0]

    def others(self, counts: "memoryview[int]", number: int) -> int:
        """The sum of these counts, of all workers but one."""
        return sum(counts[: self._joined[0]]) - counts[number]
