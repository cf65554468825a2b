"""Owns records of bytes in a ring, in memory mapped before the fork: the oldest are
overwritten.
"""

import mmap
from typing import Final

from ..primitives import Mutexes

__all__ = ["Ring"]

_LARGEST_SHARE: Final = 8  # a record takes at most an eighth of the ring
_FIRST: Final = 1  # position 0 is none


class Ring:
    """Records of at most ``max_bytes`` together, by the position that each was given;
    one has at most ``largest`` bytes.

    >>> ring = Ring(1_000_000)
    >>> position = ring.write(b"record")
    >>> ring.read(position, 3), ring.read(position + 3, 3)
    (b'rec', b'ord')

    A writer reserves room under one lock and then copies, with none. What a process
    reserves that dies is a hole whose position nobody has. A record may be overwritten
    while it is read, so a reader must be able to tell.
    """

    def __init__(self, max_bytes: int) -> None:
        self.size: Final = max(max_bytes, mmap.PAGESIZE)
        self.largest: Final = self.size // _LARGEST_SHARE
        self._bytes = mmap.mmap(-1, self.size)
        self._head_memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._head = memoryview(self._head_memory).cast("Q")
        self._head[0] = _FIRST
        self._lock = Mutexes(1)

    @property
    def bytes_written(self) -> int:
        """How far the ring has turned since it was made, in bytes."""
        return self._head[0] - _FIRST

    @property
    def oldest(self) -> int:
        """The lowest position that is not overwritten."""
        return max(_FIRST, self._head[0] - self.size)

    def write(self, record: bytes) -> int:
        """Copy a record into the ring; its position, more than 0 and than any before
        it. Raises ValueError if it is too large.
        """
        if len(record) > self.largest:
            raise ValueError("a record may take an eighth of its ring")
        position = self._reserve(len(record))
        start = position % self.size
        self._bytes[start : start + len(record)] = record
        return position

    def read(self, position: int, length: int) -> bytes | None:
        """What lies there; None if it was overwritten, or is no record's length."""
        if length > self.largest:
            return None
        start = position % self.size
        read = self._bytes[start : start + length]
        # A writer claims its room first: what it had not claimed by now was whole
        return read if position >= self.oldest else None

    def _reserve(self, length: int) -> int:
        """Claim room for a record; its position counts all bytes ever reserved."""
        self._lock.acquire(0)
        try:
            position = self._head[0]
            left = self.size - position % self.size
            if left < length:
                position += left  # a record lies in one piece
            self._head[0] = position + length
        finally:
            self._lock.release(0)
        return position
