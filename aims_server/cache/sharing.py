"""Owns the order in which a page is looked for beyond this process: in the machine's
memory, then in the store of all machines, and last at the platform.
"""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ..deadline import Clock
from ..primitives import Owner
from .levels import Found, Lease, Level, Page, Taken, Want
from .loading import Ask, Outcome, Served
from .shared_memory import SharedMemoryCache
from .store import Entry

__all__ = [
    "Codec",
    "MachinePages",
    "Sharing",
    "SharingObserver",
]

V = TypeVar("V")

# Whether the entry is old, whether complete; the student whom the platform named, or 0.
_HEAD: Final = struct.Struct(">??Q")
# The version of the form of pages. It is a part of their keys, so that two releases
# never read each other's pages; each release gathers a page once.
_VERSION: Final = b"4"

_GROWTH: Final = 1.5  # of the pauses between look-ups of a busy key
# The digest of so large a page takes half a millisecond, and so does its copy.
_LARGE_PAGE: Final = 512 * 1024


class SharingObserver(Protocol):
    """Counts what was found on each level; the metrics do."""

    def shared_lookup(self, level: str, found: str) -> None:
        """``found`` is one of kept, old, busy and none."""

    def shared_wait(self, seconds: float) -> None:
        """An asker has waited so long for another process's fill."""

    def lease_ended(self, level: str, end: str) -> None:
        """``end`` is one of kept, failed and void."""

    def page_put(self, level: str, size: int) -> None:
        """A page of so many bytes is kept."""


class Codec(Struct, Generic[V], frozen=True):
    """Packs values into bytes and unpacks them; ``unpack`` raises ValueError. ``size``
    gives the bytes of memory that an unpacked value takes.
    """

    pack: Callable[[V], bytes]
    unpack: Callable[[bytes], V]
    size: Callable[[V], int]


class MachinePages:
    """The pages in this machine's memory, with awaitable methods."""

    def __init__(self, cache: SharedMemoryCache) -> None:
        self._cache = cache

    async def take(
        self, key: bytes, owner: Owner, want: Want, *, seconds: float
    ) -> Taken:
        """Look up; see `SharedMemoryCache.take`."""
        return self._cache.take(key, owner, want, seconds=seconds)

    async def put(self, lease: Lease, page: Page) -> bool:
        """Keep a page (see `SharedMemoryCache.put`); a large one in its own turn."""
        if len(page.body) >= _LARGE_PAGE:
            await asyncio.sleep(0)
        return self._cache.put(lease, page)

    async def release(self, lease: Lease) -> None:
        """End a lease; see `SharedMemoryCache.release`."""
        self._cache.release(lease)


class Sharing(Generic[V]):
    """Levels in front of a fill, so that one process at a time runs it for a key.

    A page found on a level is also put on the levels before it. While another process
    fills a key, its page is waited for. A level that gives neither a page nor a lease
    is skipped; at worst a page is then gathered twice. ``made_with`` names the settings
    that pages depend on; it becomes a part of their keys.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        codec: Codec[V],
        observer: SharingObserver,
        *,
        made_with: str = "",
        clock: Clock = time.monotonic,
    ) -> None:
        self._levels = levels
        self._codec = codec
        self._observer = observer
        self._prefix = _VERSION + made_with.encode()
        self._clock = clock

    async def load(self, ask: Ask[V], depth: int = 0) -> Served[V]:
        """The entry, found on a level from ``depth`` on or filled; raises what the fill
        raises, and TimeoutError.
        """
        if depth == len(self._levels):
            return Served(await ask.fill(ask.deadline), Outcome.MISS)
        level = self._levels[depth]
        taken, waited = await self._look_up(level, ask)
        entry = self._entry(taken.page, ask.owner)
        if entry is not None:
            at_hand = level.find is not None
            if taken.found is Found.KEPT:
                outcome = Outcome.PENDING if waited else Outcome.HIT
                return Served(entry, outcome, at_hand)
            if taken.found is Found.OLD:
                return Served(entry, Outcome.STALE, at_hand)
            if not at_hand:
                ask.on_old(entry)
        rest = self.load(ask, depth + 1)
        if taken.lease is None:
            return await rest
        return await self._holding(level, taken.lease, ask, entry, rest)

    def find(self, key: bytes, owner: Owner, want: Want) -> Entry[V] | None:
        """The owner's first entry at hand on a level that satisfies ``want``; never
        fills.
        """
        for level in self._levels:
            page = level.find(self._prefix + key, owner) if level.find else None
            found = None if page is None else want.judge(page, self._clock())
            if found and (entry := self._entry(page, owner)) is not None:
                self._observer.shared_lookup(level.name, found)
                return entry
        return None

    def keep(self, key: bytes, owner: Owner, epoch: int, entry: Entry[V]) -> bool:
        """Keep an entry on the first level on which `find` can find it; False if it is
        not kept.
        """
        for level in self._levels:
            if level.keep is not None:
                page = self._page(entry)
                if level.keep(self._prefix + key, owner, epoch, page):
                    self._observer.page_put(level.name, len(page.body))
                    return True
        return False

    async def _look_up(self, level: Level, ask: Ask[V]) -> tuple[Taken, bool]:
        """Look up on a level; also whether another process's fill was waited for."""
        began = self._clock()
        key, deadline = self._prefix + ask.key, ask.deadline
        pause = level.first_pause
        waited = False
        while True:
            taken = await level.pages.take(
                key, ask.owner, ask.want, seconds=level.lease_seconds(deadline)
            )
            if taken.found is not Found.BUSY:
                break
            if deadline.expired:
                raise TimeoutError("another process did not fill this in time")
            if not waited:
                self._observer.shared_lookup(level.name, taken.found)
                if not level.find and (old := self._entry(taken.page, ask.owner)):
                    ask.on_old(old)
            waited = True
            await asyncio.sleep(pause)
            pause = min(_GROWTH * pause, level.longest_pause)
        self._observer.shared_lookup(level.name, taken.found)
        if waited:
            self._observer.shared_wait(self._clock() - began)
        return taken, waited

    async def _holding(
        self,
        level: Level,
        lease: Lease,
        ask: Ask[V],
        kept: Entry[V] | None,
        loading: Awaitable[Served[V]],
    ) -> Served[V]:
        """Load while holding a lease, and put the entry if it is better than the kept
        one. Its owner must be the lease's: never conclude the owner from the key.
        """
        try:
            served = await loading
        except (Exception, asyncio.CancelledError):
            # Also when this worker stops: otherwise others wait until the lease ends.
            await level.pages.release(lease)
            self._observer.lease_ended(level.name, "failed")
            raise
        new = served.entry
        if level.find and (new.old or not new.complete):
            # A better one of a further level may be kept here by now (`on_old`).
            page = level.find(self._prefix + ask.key, ask.owner)
            kept = self._entry(page, ask.owner)
        if new.owner != lease.owner or not new.replaces(kept):
            await level.pages.release(lease)
            self._observer.lease_ended(level.name, "failed")
            return served
        page = self._page(new)
        if await level.pages.put(lease, page):
            self._observer.lease_ended(level.name, "kept")
            self._observer.page_put(level.name, len(page.body))
            return replace(served, at_hand=level.find is not None)
        self._observer.lease_ended(level.name, "void")
        return served

    def _page(self, entry: Entry[V]) -> Page:
        head = _HEAD.pack(entry.old, entry.complete, entry.student_id or 0)
        return Page(
            head + self._codec.pack(entry.value),
            entry.made_at,
            entry.fresh_until,
            entry.servable_until,
        )

    def _entry(self, page: Page | None, owner: Owner) -> Entry[V] | None:
        """The entry in a page; None if it cannot be read."""
        if page is None:
            return None
        try:
            old, complete, student_id = _HEAD.unpack_from(page.body)
            value = self._codec.unpack(page.body[_HEAD.size :])
        except (ValueError, struct.error):
            return None
        return Entry(
            value=value,
            size=self._codec.size(value),
            owner=owner,
            made_at=page.made_at,
            fresh_until=page.fresh_until,
            servable_until=page.servable_until,
            old=old,
            complete=complete,
            student_id=student_id or None,
        )
