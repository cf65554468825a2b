"""Owns which tokens have standing, in memory that all workers of a machine share."""

import mmap
import struct
from typing import Final

__all__ = ["VerifiedKeys"]

_SLOT_BYTES: Final = 8
_PLACE_AND_MARK: Final = struct.Struct("=Q16xQ")
_NUMBER: Final = (1 << 24) - 1


class VerifiedKeys:
    """A map from hashes to numbers of 24 bits, shared by the workers; make it before
    the fork.

    >>> keys = VerifiedKeys()
    >>> keys.add(b"k" * 32, 7)
    >>> keys.get(b"k" * 32), keys.get(b"x" * 32)
    (7, None)

    A key of 32 uniformly distributed bytes has one slot, which it loses to the next key
    of the same slot: the map forgets, and never grows. A slot is one word with 40 bits
    of the key and its number; other bits of the key give the slot's place. A word is
    read and written whole, without a lock.
    """

    def __init__(self, slots: int = 65536) -> None:
        self._slots = memoryview(mmap.mmap(-1, slots * _SLOT_BYTES)).cast("Q")

    def add(self, key: bytes, number: int = 0) -> None:
        """Remember a key with its number."""
        at, mark = self._place(key)
        self._slots[at] = mark | number

    def get(self, key: bytes) -> int | None:
        """The number of a key, None if it is not remembered."""
        at, mark = self._place(key)
        slot = self._slots[at]
        return slot & _NUMBER if slot & ~_NUMBER == mark else None

    def _place(self, key: bytes) -> tuple[int, int]:
        number, mark = _PLACE_AND_MARK.unpack(key)
        return number % len(self._slots), mark & ~_NUMBER
