"""Owns what is kept in memory: bounded in bytes and in time, indexed by owner."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, Generic, TypeVar

from cachetools import TLRUCache
from msgspec import Struct

from ..primitives import NO_EPOCH, Epochs, Owner
from .copies import RecentOffers

__all__ = ["ENTRY_OVERHEAD", "Entry", "MemoryStore"]

V = TypeVar("V")

# What keeping one entry costs beside its value and the characters of its key, in bytes:
# the Entry with its nine fields, an owner that nobody else holds, and its places in
# the three tables of TLRUCache, in the heap (one live item, one that has left but is
# not yet swept) and in the index. CPython 3.11 needs 630 to 1340, by how full the
# tables just are (tests/cache/test_store.py measures it).
ENTRY_OVERHEAD: Final = 1344
_LARGEST_SHARE: Final = 8  # a copy takes at most an eighth of the room for copies


class Entry(Struct, Generic[V], frozen=True):
    """A kept value: `size` in bytes with all that the value holds on to, moments
    on the monotonic clock.

    It is fresh until `fresh_until`, may be served old until `servable_until`, and is
    gone from then on. An `old` one was made of a part that should have been newer, and
    was never fresh. One that is not `complete` never takes the place of one that is.
    `student_id` is whom the platform has named to this owner, if it
    has. Several askers are given the same one: keep bytes or frozen values in it.
    """

    value: V
    size: int
    owner: Owner
    made_at: float
    fresh_until: float
    servable_until: float
    old: bool = False
    complete: bool = True
    student_id: int | None = None

    def replaces(self, kept: "Entry[V] | None") -> bool:
        """Whether it is to be kept in place of this one, which may be better: complete,
        newer, or made of the same old part when that was not yet old.
        """
        if kept is None:
            return True
        if kept.complete > self.complete:
            return False
        if kept.made_at < self.made_at:
            return True
        return kept.made_at == self.made_at and not self.old


# An entry with its whole cost in bytes, since what TLRUCache asks the size of has no
# key, and the epoch of its owner.
_Kept = tuple[Entry[V], int, int]
_NOTHING: Final[_Kept[Any]] = (Entry(None, 0, b"", 0.0, 0.0, 0.0), 0, NO_EPOCH)


class _Entries(TLRUCache[bytes, _Kept[V], float]):
    """A TLRUCache that reports the entries which leave by themselves.

    A key that it has not it gives `_NOTHING`, since most look-ups miss: a KeyError is
    raised twice on its way through TLRUCache.

    Nearly every one of its methods may expire entries, so the index of owners is exact
    only if expiry itself reports them.
    """

    def __init__(
        self,
        maxsize: int,
        clock: Callable[[], float],
        left: Callable[[Iterable[tuple[bytes, _Kept[V]]]], None],
    ) -> None:
        super().__init__(
            maxsize,
            ttu=lambda key, kept, now: kept[0].servable_until,
            timer=clock,
            getsizeof=lambda kept: kept[1],
        )
        self._left = left
        self.evictions = 0

    def expire(self, time: float | None = None) -> list[tuple[bytes, _Kept[V]]]:
        gone = super().expire(time)
        if gone:
            self._left(gone)
        return gone

    def __missing__(self, key: bytes) -> _Kept[V]:
        return _NOTHING

    def make_room(self, cost: int) -> None:
        """Evict the least recently used, until there is room for so much."""
        while self.currsize + cost > self.maxsize:
            self._left([self.popitem()])
            self.evictions += 1


class MemoryStore(Generic[V]):
    """Entries of at most `max_bytes` in this process; the least recently used leave.

    >>> store: MemoryStore[bytes] = MemoryStore(10_000, clock=lambda: 0.0)
    >>> store.put(b"key", Entry(b"page", 4, b"owner", 0.0, 300.0, 2100.0))
    True
    >>> store.drop_owner(b"owner"), store.get(b"key")
    (True, None)

    A copy is an entry that another place keeps too, and gives again in microseconds.
    Copies share a room of their own, of `max_copied_bytes`, and one is kept when it is
    offered a second time within 512 offers of others. A copy of more than an eighth of
    that room is kept like any other entry: to unpack it again would take milliseconds.

    Expired entries leave when anything is put or dropped. For a store without
    traffic, call `expire` from time to time. With `epochs` that other processes share,
    a drop in any of them voids the owner's entries here too.
    """

    def __init__(
        self,
        max_bytes: int,
        max_copied_bytes: int = 0,
        *,
        epochs: Epochs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # A key is in one of the two at most.
        self._sole: _Entries[V] = _Entries(max_bytes, clock, self._unindex)
        self._copies: _Entries[V] = _Entries(max_copied_bytes, clock, self._unindex)
        self._largest_copy = max_copied_bytes // _LARGEST_SHARE
        self._offers = RecentOffers()
        self._keys_of: dict[Owner, set[bytes]] = {}
        self.epochs: Final = epochs or Epochs()

    def get(self, key: bytes) -> Entry[V] | None:
        """The entry of this key while it is servable; counts as a use of it."""
        # Not .get(): it freezes the clock and looks twice, at three times the cost
        kept = self._copies[key]
        if kept is _NOTHING:
            kept = self._sole[key]
        entry, _, epoch = kept
        return entry if self.epochs.is_current(epoch) else None

    def keys_of(self, owner: Owner) -> Collection[bytes]:
        """The keys of this owner's entries, some of which may have ended."""
        return self._keys_of.get(owner, ())

    def put(
        self,
        key: bytes,
        entry: Entry[V],
        epoch: int | None = None,
        *,
        copied: bool = False,
    ) -> bool:
        """Keep this entry in place of an older one. Its owner's ``epoch``, taken before
        it was made, keeps out what was begun before the entries were dropped.
        ``copied`` says that another place keeps it too: then it is kept only if it is
        offered often enough.

        False if it is not kept (too large, no longer servable, or a copy that is
        offered too seldom), and then the older one is gone too; or if its owner's epoch
        is another by now, and then nothing has changed.
        """
        if epoch is None:
            epoch = self.epochs.begin(entry.owner)
        if not self.epochs.keep(epoch):
            return False
        is_copy = copied and entry.size <= self._largest_copy
        entries = self._copies if is_copy else self._sole
        # The key twice: an item that left keeps its own in the heap until it is swept
        cost = entry.size + ENTRY_OVERHEAD + 2 * len(key)
        with self._sole.timer, self._copies.timer, entries.timer as now:
            self.expire()
            was_copied = key in self._copies
            self._discard(key)
            if is_copy and not was_copied and not self._offers.is_offered_again(key):
                return False
            if cost > entries.maxsize or now >= entry.servable_until:
                return False
            entries.make_room(cost)
            entries[key] = (entry, cost, epoch)
            self._keys_of.setdefault(entry.owner, set()).add(key)
        return True

    def drop_owner(self, owner: Owner) -> bool:
        """Drop all that is kept for this owner and end its epoch; return whether
        anything was kept in it, here or by a process that shares the epochs.
        """
        kept = self.epochs.end(owner)
        # With the clocks standing still no entry expires between being found and being
        # deleted; TLRUCache raises KeyError when it deletes an expired one.
        with self._sole.timer, self._copies.timer:
            self.expire()
            for key in list(self._keys_of.get(owner, ())):
                self._discard(key)
        return kept

    def expire(self) -> int:
        """Drop what is no longer servable; how many entries that were."""
        return len(self._sole.expire()) + len(self._copies.expire())

    def __len__(self) -> int:
        return len(self._sole) + len(self._copies)

    @property
    def size(self) -> int:
        """Bytes kept, overhead included."""
        return int(self._sole.currsize + self._copies.currsize)

    @property
    def evictions(self) -> int:
        """How many servable entries had to leave for want of room; no copies, as the
        other place has them.
        """
        return self._sole.evictions

    def _discard(self, key: bytes) -> None:
        """Drop an entry; the clocks stand still and nothing is expired."""
        for entries in (self._copies, self._sole):
            if key in entries:
                self._unindex([(key, entries.pop(key))])

    def _unindex(self, gone: Iterable[tuple[bytes, _Kept[V]]]) -> None:
        for key, (entry, *_) in gone:
            keys = self._keys_of[entry.owner]
            keys.remove(key)
            if not keys:
                del self._keys_of[entry.owner]
