"""Owns what has arrived so far of the page of all subjects, for those who do not wait
for all of it. Makes no call.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..domain import SubjectDays
from .student_records import FetchedFiles

__all__ = ["Gathering", "Gatherings"]

_TRIPS: Final = 2
_GUESS: Final = 1.2  # a call under way is expected to take a fifth longer in all


class Gathering:
    """The course files, which tell the subjects to expect, and the days that have
    arrived, by course file; None for a subject that cannot be fetched.

    >>> gathering = Gathering(began_at=100.0)
    >>> gathering.add(7300101, None)
    >>> gathering.version, gathering.parts, round(gathering.seconds_left(now=102.0), 1)
    (1, {7300101: None}, 2.8)

    Watchers read it at their own pace: `changed` returns when there is more than they
    have seen. A slow watcher misses steps and delays nobody.
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
        """The course files have arrived. ``oldest`` is when the oldest kept days were
        fetched (monotonic seconds), None if all are new.
        """
        self.head = head
        self.oldest = oldest
        self._changed()

    def add(self, cf_id: int, days: SubjectDays | None) -> None:
        """One more subject has arrived, or is known not to come."""
        self.parts[cf_id] = days
        self._changed()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self._changed()

    async def changed(self, seen: int) -> int:
        """Wait until there is more than the watcher has ``seen``: the `version` of its
        last look, 0 at first. Return the present version.
        """
        while self.version == seen:
            self._news = self._news or asyncio.Event()
            await self._news.wait()
        return self.version

    def seconds_left(self, now: float) -> float:
        """Estimated seconds until everything has arrived. Both round trips take as long
        as the first, which takes a fifth longer than it has so far.
        """
        elapsed = now - self.began_at
        return _TRIPS * _GUESS * elapsed - elapsed

    def _changed(self) -> None:
        self.version += 1
        if self._news is not None:
            self._news.set()
            self._news = None


class Gatherings:
    """The gatherings under way by key; the latest one for each key.

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
        """The gathering under way, or None."""
        return self._under_way.get(key)

    async def begun(self, key: bytes) -> Gathering:
        """The gathering under way; waits until there is one."""
        while (gathering := self._under_way.get(key)) is None:
            await self._news.wait()
        return gathering

    @contextmanager
    def begin(self, key: bytes, now: float) -> Iterator[Gathering]:
        """Begin a gathering that is under way while the block runs."""
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
