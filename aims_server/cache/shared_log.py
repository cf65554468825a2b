"""Owns a log in shared memory: the steps of one worker's work, which other workers of
the machine follow. Knows only bytes.
"""

import time

from ..deadline import Clock
from ..primitives import Owner
from .levels import Page
from .shared_memory import SharedMemoryCache

__all__ = ["SharedLog"]


class SharedLog:
    """The steps of work by key, kept for ``seconds`` from the work's beginning.

    >>> from ..primitives import Epochs
    >>> log = SharedLog(SharedMemoryCache(1_000_000, Epochs()), seconds=30.0)
    >>> log.is_followed(b"key", b"owner")
    False
    >>> log.follow(b"key", b"owner")
    >>> log.is_followed(b"key", b"owner")
    True
    >>> began_at = time.monotonic()
    >>> epoch = log.begin(b"owner")
    >>> log.write(b"key", b"owner", epoch, began_at, 0, b"course files")
    >>> log.write(b"key", b"owner", epoch, began_at - 1.0, 0, b"of an earlier work")
    >>> log.read(b"key", b"owner", 0) == (began_at, b"course files")
    True
    >>> log.read(b"key", b"owner", 1)

    The worker that does the work checks from time to time whether another one follows,
    and only then writes steps, numbered from 0. Work is identified by its key and when
    it began; its steps do not replace those of later work. Like pages they are signed
    for their owner, and void in its next epoch.
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
        """Ask whichever worker does this work to write its steps."""
        self._put(_mark(key), owner, self.begin(owner), self._clock(), b"")

    def is_followed(self, key: bytes, owner: Owner) -> bool:
        """Whether another worker has asked for the steps of this work."""
        return self._memory.find(_mark(key), owner) is not None

    def begin(self, owner: Owner) -> int:
        """The owner's epoch, with which the steps end; take it when the work begins."""
        return self._memory.epochs.begin(owner)

    def write(
        self,
        key: bytes,
        owner: Owner,
        epoch: int,
        began_at: float,
        number: int,
        step: bytes,
    ) -> None:
        """Write a step of the work that began at ``began_at`` (monotonic seconds)."""
        self._put(_step(key, number), owner, epoch, began_at, step)

    def read(self, key: bytes, owner: Owner, number: int) -> tuple[float, bytes] | None:
        """When the work began, and its step of this number; None if there is none."""
        page = self._memory.find(_step(key, number), owner)
        return None if page is None else (page.made_at, page.body)

    def _put(
        self, key: bytes, owner: Owner, epoch: int, made_at: float, body: bytes
    ) -> None:
        end = made_at + self._seconds
        page = Page(body, made_at, end, end)
        self._memory.keep(key, owner, epoch, page)


def _mark(key: bytes) -> bytes:
    return key + b"/followed"


def _step(key: bytes, number: int) -> bytes:
    return b"%b/step/%d" % (key, number)
