"""Owns what the workers of a machine share about invalidations: how far the stream has
been applied, and which owners' invalidations have not been sent to the store yet.
"""

import mmap
import os
from collections.abc import Callable
from typing import Final

from ..primitives import Owner, mutexes

__all__ = ["SharedCursor", "StreamId"]

_SLOTS: Final = 65536

StreamId = tuple[int, int]


class SharedCursor:
    """A place in the stream, and pending owners by the low bits of their hash.

    >>> cursor = SharedCursor()
    >>> cursor.add_pending(b"owner", 0.0, until=2100.0)
    >>> cursor.is_pending(b"owner", 10.0), cursor.is_pending(b"another", 10.0)
    (True, False)
    >>> cursor.remove_pending(b"owner")
    >>> cursor.is_pending(b"owner", 10.0)
    False

    Make it before the fork. Owners who share a slot are pending until the last of them
    is removed: that may cost calls to the platform, but is never wrong.
    """

    def __init__(self) -> None:
        self.machine = os.urandom(8)
        # A worker that dies leaves its owners counted; they are pending until the end.
        self._pending_until = memoryview(mmap.mmap(-1, 8 * _SLOTS)).cast("d")
        self._pending_number = memoryview(mmap.mmap(-1, 8 * _SLOTS)).cast("Q")
        # The two parts of an id, and whether there is one.
        self._cursor = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
        (self._lock,) = mutexes(1)

    def add_pending(self, owner: Owner, now: float, *, until: float) -> None:
        """Until then the store may have pages of this owner that it should not have."""
        slot = hash(owner) % _SLOTS
        with self._lock:
            if now >= self._pending_until[slot]:
                self._pending_number[slot] = 0
            self._pending_number[slot] += 1
            self._pending_until[slot] = max(until, self._pending_until[slot])

    def remove_pending(self, owner: Owner) -> None:
        """The store has been told of one `add_pending`."""
        slot = hash(owner) % _SLOTS
        with self._lock:
            left = max(self._pending_number[slot] - 1, 0)
            self._pending_number[slot] = left
            if not left:
                self._pending_until[slot] = 0.0

    def is_pending(self, owner: Owner, now: float) -> bool:
        """Whether the store's pages of this owner must not be used."""
        return now < self._pending_until[hash(owner) % _SLOTS]

    @property
    def known(self) -> bool:
        """Whether this machine follows the stream at all yet."""
        return bool(self._cursor[2])

    @property
    def position(self) -> StreamId:
        """The id that was applied last."""
        with self._lock:
            return self._cursor[0], self._cursor[1]

    def begin_at(self, newest: StreamId, before: StreamId) -> None:
        """Begin at the ``newest`` entry if this machine has not begun yet.

        Begin again at the stream's start if its newest entry is older than the position
        ``before`` the look-up: then it is another stream, of a server that was emptied,
        or of a new primary whose clock is behind.
        """
        with self._lock:
            if not self._cursor[2]:
                self._cursor[0], self._cursor[1] = newest
                self._cursor[2] = 1
            elif newest < before:
                self._cursor[0], self._cursor[1] = 0, 0

    def advance(self, to: StreamId, apply: Callable[[], object]) -> None:
        """Apply an entry and move on to it, unless another worker has done so."""
        with self._lock:
            if (self._cursor[0], self._cursor[1]) < to:
                apply()
                # In this order a death in between makes entries be applied again. In
                # the other order it would skip those of one millisecond.
                self._cursor[1], self._cursor[0] = to[1], to[0]
