"""Owns the steps of work that one worker does and others of its machine follow: one
after the other, in the memory that they share. Knows bytes.
"""

import time
from typing import Final

from ..deadline import Clock
from .levels import Owner, Page, Want
from .shared_memory import SharedMemoryCache

__all__ = ["SharedLog"]

_WRITE_SECONDS: Final = 1.0  # a lease for one step, which takes 30 us to write
_ANY_AGE_IS_TOO_OLD: Final = Want(max_age=-1.0)  # a step is written, whatever is there


class SharedLog:
    """Steps of pieces of work, by key; kept for ``seconds`` from the work's beginning.

    >>> from aims_server.primitives import Epochs
    >>> log = SharedLog(SharedMemoryCache(1_000_000, Epochs()), seconds=30.0)
    >>> log.is_followed(b"key", b"owner")
    False
    >>> log.follow(b"key", b"owner")
    >>> log.is_followed(b"key", b"owner")
    True
    >>> began_at = time.monotonic()
    >>> log.write(b"key", b"owner", began_at, 0, b"course files")
    >>> log.read(b"key", b"owner", 0) == (began_at, b"course files")
    True
    >>> log.read(b"key", b"owner", 1)

    Steps need to be written only while another worker follows the work, which its own
    worker looks up from time to time. They are numbered from 0. Those of an earlier
    work under the same key are told apart by when it began. Like pages they carry a
    digest for their owner, and are void in its next epoch.
    """

    def __init__(
        self,
        memory: SharedMemoryCache,
        *,
        seconds: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._memory = memory
        self._seconds = seconds
        self._clock = clock

    def follow(self, key: bytes, owner: Owner) -> None:
        """Ask the worker that does this work to write its steps."""
        self._put(_mark(key), owner, self._clock(), b"")

    def is_followed(self, key: bytes, owner: Owner) -> bool:
        """Whether another worker has asked for the steps of this work."""
        return self._memory.find(_mark(key), owner) is not None

    def write(
        self, key: bytes, owner: Owner, began_at: float, number: int, step: bytes
    ) -> None:
        """Write one step of the work that began then."""
        self._put(_step(key, number), owner, began_at, step)

    def read(self, key: bytes, owner: Owner, number: int) -> tuple[float, bytes] | None:
        """When the work of this step began, and the step; None if it is not there."""
        page = self._memory.find(_step(key, number), owner)
        return None if page is None else (page.made_at, page.body)

    def _put(self, key: bytes, owner: Owner, made_at: float, body: bytes) -> None:
        want = _ANY_AGE_IS_TOO_OLD
        lease = self._memory.take(key, owner, want, seconds=_WRITE_SECONDS).lease
        if lease is not None:
            end = made_at + self._seconds
            self._memory.put(lease, Page(body, made_at, end, end))


def _mark(key: bytes) -> bytes:
    return key + b"/followed"


def _step(key: bytes, number: int) -> bytes:
    return b"%b/step/%d" % (key, number)
