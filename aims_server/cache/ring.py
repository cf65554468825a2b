"""Owns a ring of byte records in memory mapped before the fork; the oldest records are
overwritten.
"""

import mmap
from typing import Final

from ..primitives import mutexes

__all__ = ["Ring"]

_LARGEST_SHARE: Final = 8  # a record takes at most an eighth of the ring
_FIRST: Final = 1  # position 0 is none


class Ring:
    """Records of at most ``max_bytes`` together, each found by its position. One record
    has at most ``largest`` bytes.

    >>> ring = Ring(1_000_000)
    >>> position = ring.write(b"record")
    >>> ring.read(position, 3), ring.read(position + 3, 3)
    (b'rec', b'ord')

    A writer reserves room under one lock and then copies without it. If it dies
    between, the room is a hole whose position nobody knows. A record may be overwritten
    while it is read, so a reader must check.
    """

    def __init__(self, max_bytes: int) -> None:
        self.size: Final = max(max_bytes, mmap.PAGESIZE)
        self.largest: Final = self.size // _LARGEST_SHARE
        self._bytes = mmap.mmap(-1, self.size)
        self._head_memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._head = memoryview(self._head_memory).cast("Q")
        self._head[0] = _FIRST
        (self._lock,) = mutexes(1)

    @property
    def bytes_written(self) -> int:
        """Bytes reserved since the ring was made."""
        return self._head[0] - _FIRST

    @property
    def oldest(self) -> int:
        """The lowest position that is not overwritten."""
        return max(_FIRST, self._head[0] - self.size)

    def write(self, record: bytes) -> int:
        """Copy a record into the ring and return its position, which is above 0 and
        above all earlier ones. Raises ValueError if the record is too large.
        """
        if len(record) > self.largest:
            raise ValueError("a record may take an eighth of its ring")
        position = self._reserve(len(record))
        start = position % self.size
        self._bytes[start : start + len(record)] = record
        return position

    def read(self, position: int, length: int) -> bytes | None:
        """The bytes there; None if they are overwritten, or no record can be there."""
        start = position % self.size
        if length > self.largest or start + length > self.size:
            return None
        read = self._bytes[start : start + length]
        # A writer reserves its room first: what is not reserved by now was whole
        return read if position >= self.oldest else None

    def _reserve(self, length: int) -> int:
        """Reserve room for a record; its position counts all bytes ever reserved."""
        with self._lock:
            position = self._head[0]
            left = self.size - position % self.size
            if left < length:
                position += left  # a record lies in one piece
            self._head[0] = position + length
        return position
