"""Owns what has arrived so far of the page of all subjects, for those who will not or
cannot wait for all of it. Makes no call.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..domain import SubjectDays
from .student_records import FetchedFiles

__all__ = ["Gathering", "Gatherings"]

_TRIPS: Final = 2
_GUESS: Final = 1.2  # what has taken so long is thought to take a fifth longer


class Gathering:
    """The course files, which say what subjects there are to be, and the days of those
    that are there: by course file, None for one that cannot be fetched.

    Watchers read it at their own pace: `changed` returns when there is more than they
    have seen. So one that is slow misses steps and holds nobody up.
    """

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.head: FetchedFiles | None = None
        self.oldest: float | None = None
        self.parts: dict[int, SubjectDays | None] = {}
        self.ended = False
        self.version = 0
        self._news: asyncio.Event | None = None  # while somebody waits

    def begin(self, head: FetchedFiles, oldest: float | None) -> None:
        """The course files are there. ``oldest`` is when the oldest of the days that
        are kept were fetched, in seconds of the monotonic clock; None if all are
        fetched now.
        """
        self.head = head
        self.oldest = oldest
        self._changed()

    def add(self, cf_id: int, days: SubjectDays | None) -> None:
        """One more subject is there, or is known not to come."""
        self.parts[cf_id] = days
        self._changed()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self._changed()

    async def changed(self, seen: int) -> int:
        """Wait until there is more than a watcher has seen, which gives the `version`
        that it saw last, and 0 at first; return the present one.
        """
        while self.version == seen:
            self._news = self._news or asyncio.Event()
            await self._news.wait()
        return self.version

    def seconds_left(self, now: float) -> float:
        """Seconds until all is there, estimated: it takes two round trips, each as long
        as the first, which is not over yet and is thought to take a fifth longer than
        it has so far.
        """
        elapsed = now - self.began_at
        return _TRIPS * _GUESS * elapsed - elapsed

    def _changed(self) -> None:
        self.version += 1
        if self._news is not None:
            self._news.set()
            self._news = None


class Gatherings:
    """The gatherings under way, by key; of two with one key the later.

    >>> gatherings = Gatherings()
    >>> with gatherings.begin(b"key", now=0.0):
    ...     len(gatherings)
    1
    >>> len(gatherings)
    0
    """

    def __init__(self) -> None:
        self._under_way: dict[bytes, Gathering] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._under_way)

    def get(self, key: bytes) -> Gathering | None:
        """The one under way."""
        return self._under_way.get(key)

    async def begun(self, key: bytes) -> Gathering:
        """The one under way, as soon as there is one."""
        while (gathering := self._under_way.get(key)) is None:
            await self._news.wait()
        return gathering

    @contextmanager
    def begin(self, key: bytes, now: float) -> Iterator[Gathering]:
        """One that is under way as long as the block runs."""
        gathering = Gathering(now)
        self._under_way[key] = gathering
        self._news.set()
        self._news = asyncio.Event()
        try:
            yield gathering
        finally:
            if self._under_way.get(key) is gathering:
                del self._under_way[key]
            gathering.end()
