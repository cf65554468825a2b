"""Counts each worker's open connections in shared memory, so that a worker with more
leaves the next connection to one with fewer.
"""

import mmap
import sys
from typing import Final

from ..primitives import WORKER_NUMBERS

__all__ = ["ConnectionCount", "ConnectionCounts"]

_ABSENT: Final = 2**62
_BYTES: Final = 8


class ConnectionCount:
    """One worker's own count, compared with the others'."""

    def __init__(self, counts: "memoryview[int]", number: int) -> None:
        self._counts = counts
        self._number = number

    def publish(self, count: int) -> None:
        """Set the count; call it at every change, from the first on."""
        self._counts[self._number] = count

    def withdraw(self) -> None:
        """Remove this count from the comparison."""
        self._counts[self._number] = _ABSENT

    @property
    def excess(self) -> int:
        """The difference between this count and the smallest."""
        return self._counts[self._number] - min(self._counts.tolist())


class ConnectionCounts:
    """The counts of all workers; made before the fork.

    >>> counts = ConnectionCounts()
    >>> first, second = counts.of(0), counts.of(1)
    >>> first.publish(5), second.publish(2)
    (None, None)
    >>> first.excess, second.excess
    (3, 0)
    """

    def __init__(self) -> None:
        memory = mmap.mmap(-1, WORKER_NUMBERS * _BYTES)
        self._counts = memoryview(memory).cast("q")
        memory[:] = _ABSENT.to_bytes(_BYTES, sys.byteorder) * WORKER_NUMBERS

    def of(self, number: int) -> ConnectionCount:
        """The count of the worker with this number, which no other living one has."""
        return ConnectionCount(self._counts, number)
