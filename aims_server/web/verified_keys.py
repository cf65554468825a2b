"""Which tokens have standing, as all workers of a machine know it."""

import mmap
import struct
from typing import Final

__all__ = ["VerifiedKeys"]

_MARK_BYTES: Final = 8
_PLACE_AND_MARK: Final = struct.Struct("=Q16xQ")


class VerifiedKeys:
    """A set of hashes in memory that the workers share; make it before the fork.

    >>> keys = VerifiedKeys()
    >>> keys.add(b"k" * 32)
    >>> b"k" * 32 in keys, b"x" * 32 in keys
    (True, False)

    Each key of 32 uniformly distributed bytes has one slot, which it loses to the next
    key of that slot: the set forgets, and never grows. A slot holds 64 bits of a key
    and its place the others that count; it is stored and loaded whole, without a lock.
    """

    def __init__(self, slots: int = 65536) -> None:
        self._marks = memoryview(mmap.mmap(-1, slots * _MARK_BYTES)).cast("Q")

    def add(self, key: bytes) -> None:
        """Remember a key."""
        at, mark = self._place(key)
        self._marks[at] = mark

    def discard(self, key: bytes) -> None:
        """Forget a key."""
        at, mark = self._place(key)
        if self._marks[at] == mark:
            self._marks[at] = 0

    def __contains__(self, key: bytes) -> bool:
        at, mark = self._place(key)
        return self._marks[at] == mark

    def _place(self, key: bytes) -> tuple[int, int]:
        number, mark = _PLACE_AND_MARK.unpack(key)
        return number % len(self._marks), mark
