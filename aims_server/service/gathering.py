"""Owns what has arrived so far of an answer under way, for those who do not wait for
all of it. Knows neither the platform nor HTTP.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

__all__ = ["Gathering", "Gatherings"]

Head = TypeVar("Head")
Part = TypeVar("Part")

_GUESS: Final = 1.2  # a call under way is expected to take a fifth longer in all


class Gathering(Generic[Head, Part]):
    """A head, which tells the parts to expect, and the parts that have arrived.

    >>> gathering = Gathering(began_at=100.0)
    >>> gathering.begin("course files", 2)
    >>> gathering.add(7300002, "records of the first")
    >>> gathering.parts, gathering.expected
    ({7300002: 'records of the first'}, 2)

    Watchers read it at their own pace: `changed` returns when there is more than they
    have seen. A slow watcher misses steps and delays nobody.
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
        """The head has arrived; ``expected`` is the number of parts. ``oldest`` is when
        the oldest kept part was fetched (monotonic seconds), None if all are new.
        """
        self.head = head
        self.expected = expected
        self.oldest = oldest
        self._changed()

    def add(self, key: int, part: Part) -> None:
        """One more part has arrived, or is known not to come."""
        self.parts[key] = part
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

    def seconds_left(self, now: float, trips: int) -> float:
        """Estimated seconds until everything has arrived. All ``trips`` round trips
        take as long as the first, which takes a fifth longer than it has so far.
        """
        elapsed = now - self.began_at
        return trips * _GUESS * elapsed - elapsed

    def _changed(self) -> None:
        self.version += 1
        if self._news is not None:
            self._news.set()
            self._news = None


class Gatherings(Generic[Head, Part]):
    """The gatherings under way by key; the latest one for each key.

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
        """The gathering under way, or None."""
        return self._under_way.get(key)

    async def begun(self, key: bytes) -> Gathering[Head, Part]:
        """The gathering under way; waits until there is one."""
        while (gathering := self._under_way.get(key)) is None:
            await self._news.wait()
        return gathering

    @contextmanager
    def begin(self, key: bytes, now: float) -> Iterator[Gathering[Head, Part]]:
        """Begin a gathering that is under way while the block runs."""
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
