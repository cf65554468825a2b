"""Owns what has arrived so far of an answer that is being gathered, for those who will
not or cannot wait for all of it. Knows neither the platform nor HTTP.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

__all__ = ["Gathering", "Gatherings"]

Head = TypeVar("Head")
Part = TypeVar("Part")

_GUESS: Final = 1.2  # what has taken so long is thought to take a fifth longer


class Gathering(Generic[Head, Part]):
    """A head, which says what parts there are to be, and the parts that are there.

    >>> gathering = Gathering(began_at=100.0)
    >>> gathering.begin("course files", 2)
    >>> gathering.add(7300002, "records of the first")
    >>> gathering.parts, gathering.expected
    ({7300002: 'records of the first'}, 2)

    Watchers read it at their own pace: `changed` returns when there is more than they
    have seen. So one that is slow misses steps and holds nobody up.
    """

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.head: Head | None = None
        self.expected = 0
        self.oldest: float | None = None
        self.parts: dict[int, Part] = {}
        self.ended = False
        self.version = 0
        self._news: asyncio.Event | None = None  # while somebody waits

    def begin(self, head: Head, expected: int, oldest: float | None = None) -> None:
        """The head is there, and so many parts are to follow. ``oldest`` is when the
        oldest of those that are kept were fetched, in seconds of the monotonic clock;
        None if all are fetched now.
        """
        self.head = head
        self.expected = expected
        self.oldest = oldest
        self._changed()

    def add(self, key: int, part: Part) -> None:
        """One more part is there, or is known not to come."""
        self.parts[key] = part
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

    def seconds_left(self, now: float, trips: int) -> float:
        """Seconds until all is there, estimated: it takes ``trips`` round trips, each
        as long as the first, which is not over yet and is thought to take a fifth
        longer than it has so far.
        """
        elapsed = now - self.began_at
        return trips * _GUESS * elapsed - elapsed

    def _changed(self) -> None:
        self.version += 1
        if self._news is not None:
            self._news.set()
            self._news = None


class Gatherings(Generic[Head, Part]):
    """The gatherings under way, by key; of two with one key the later.

    >>> gatherings: Gatherings[str, int] = Gatherings()
    >>> with gatherings.begin(b"key", now=0.0):
    ...     len(gatherings)
    1
    >>> len(gatherings)
    0
    """

    def __init__(self) -> None:
        self._under_way: dict[bytes, Gathering[Head, Part]] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._under_way)

    def get(self, key: bytes) -> Gathering[Head, Part] | None:
        """The one under way."""
        return self._under_way.get(key)

    async def begun(self, key: bytes) -> Gathering[Head, Part]:
        """The one under way, as soon as there is one."""
        while (gathering := self._under_way.get(key)) is None:
            await self._news.wait()
        return gathering

    @contextmanager
    def begin(self, key: bytes, now: float) -> Iterator[Gathering[Head, Part]]:
        """One that is under way as long as the block runs."""
        gathering: Gathering[Head, Part] = Gathering(now)
        self._under_way[key] = gathering
        self._news.set()
        self._news = asyncio.Event()
        try:
            yield gathering
        finally:
            if self._under_way.get(key) is gathering:
                del self._under_way[key]
            gathering.end()
