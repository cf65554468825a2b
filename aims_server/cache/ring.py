"""Owns the bodies of shared pages: a ring of bytes in memory mapped before the fork, in
which the oldest are overwritten.
"""

import mmap
from typing import Final

from ..primitives import Mutexes

__all__ = ["Ring"]

_LARGEST_SHARE: Final = 8  # a body takes at most an eighth of the ring


class Ring:
    """Bodies of at most ``max_bytes`` together, by the position that each was given.

    >>> ring = Ring(1_000_000)
    >>> position = ring.write(b"body")
    >>> ring.read(position, 4)
    b'body'

    A writer reserves room under one lock and then copies, with none. What a process
    reserves that dies is a hole whose position nobody has. A body may be overwritten
    while it is read, so whoever reads must be able to tell.
    """

    def __init__(self, max_bytes: int) -> None:
        self.size: Final = max(max_bytes, mmap.PAGESIZE)
        self._bodies = mmap.mmap(-1, self.size)
        self._head_memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._head = memoryview(self._head_memory).cast("Q")
        self._lock = Mutexes(1)

    @property
    def bytes_written(self) -> int:
        """How far the ring has turned since it was made, in bytes."""
        return self._head[0]

    def write(self, body: bytes) -> int | None:
        """Copy a body into the ring; its position, None if it is too large."""
        if len(body) > self.size // _LARGEST_SHARE:
            return None
        position = self._reserve(len(body))
        start = position % self.size
        self._bodies[start : start + len(body)] = body
        return position

    def read(self, position: int, length: int) -> bytes | None:
        """What lies there; None if it was overwritten before."""
        if self._head[0] - position > self.size:
            return None
        start = position % self.size
        return self._bodies[start : start + length]

    def _reserve(self, length: int) -> int:
        """Claim room for a body; its position counts all bytes ever reserved."""
        self._lock.acquire(0)
        try:
            position = self._head[0]
            left = self.size - position % self.size
            if left < length:
                position += left  # a body lies in one piece
            self._head[0] = position + length
        finally:
            self._lock.release(0)
        return position
