"""Which tokens have standing, as all workers of a machine know it."""

import mmap
import struct
from typing import Final

__all__ = ["VerifiedKeys"]

_SLOT: Final = 16
_NUMBER: Final = struct.Struct("=Q")


class VerifiedKeys:
    """A set of hashes in memory that the workers share; make it before the fork.

    >>> keys = VerifiedKeys()
    >>> keys.add(b"k" * 32)
    >>> b"k" * 32 in keys, b"x" * 32 in keys
    (True, False)

    Each key of 32 uniformly distributed bytes has one slot, which it loses to the next
    key of that slot: the set forgets, and never grows. No lock: a slot that was read
    while it was written holds half of two keys, which is no third one's but once in
    2**64 times.
    """

    def __init__(self, slots: int = 65536) -> None:
        self._slots = slots
        self._memory = mmap.mmap(-1, slots * _SLOT)

    def add(self, key: bytes) -> None:
        """Remember a key."""
        at, mark = self._place(key)
        self._memory[at : at + _SLOT] = mark

    def discard(self, key: bytes) -> None:
        """Forget a key."""
        at, mark = self._place(key)
        if self._memory[at : at + _SLOT] == mark:
            self._memory[at : at + _SLOT] = bytes(_SLOT)

    def __contains__(self, key: bytes) -> bool:
        at, mark = self._place(key)
        return self._memory[at : at + _SLOT] == mark

    def _place(self, key: bytes) -> tuple[int, bytes]:
        number: int = _NUMBER.unpack_from(key)[0]
        return number % self._slots * _SLOT, key[-_SLOT:]
