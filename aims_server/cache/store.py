"""Owns what is kept in memory: bounded in bytes and in time, indexed by owner."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

from msgspec import Struct

from ..primitives import Epochs, Owner
from .copies import RecentOffers

__all__ = ["ENTRY_OVERHEAD", "Entry", "MemoryStore"]

V = TypeVar("V")

# What keeping one entry costs beside its value and the characters of its key, in bytes:
# the Entry with its nine fields, an owner that nobody else holds, and its places in
# the table, in the heap (one for now, one of before) and in the index. CPython 3.11
# needs 830 to 1130, by how full the tables just are (tests/cache/test_store.py measures
# it).
ENTRY_OVERHEAD: Final = 1152
_LARGEST_SHARE: Final = 8  # a copy takes at most an eighth of the room for copies
_ENDS_SPARED: Final = 64


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
        """Whether it is to be kept in place of this one, which may be better: newer, or
        made of the same old part when that was not yet old.
        """
        if kept is None or kept.made_at < self.made_at:
            return True
        return kept.made_at == self.made_at and not self.old


# An entry, its whole cost in bytes, and the epoch of its owner.
_Kept = tuple[Entry[V], int, int]


class _Entries(Generic[V]):
    """Entries of at most `max_bytes`; `left` is told the key and the owner of each that
    goes, for whatever reason.
    """

    def __init__(self, max_bytes: int, left: Callable[[bytes, Owner], object]) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self.evictions = 0
        self._left = left
        self._kept: OrderedDict[bytes, _Kept[V]] = OrderedDict()  # last used, last
        # A heap of the moments at which keys end, also of those that have left.
        self._ends: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> _Kept[V] | None:
        """What is kept if it is servable; counts as a use of it."""
        kept = self._kept.get(key)
        if kept is None or now >= kept[0].servable_until:
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: _Kept[V]) -> None:
        """Keep what has a new key and is not too large; the least recently used leave
        until there is room.
        """
        entry, cost, _ = kept
        while self.size + cost > self.max_bytes:
            self.discard(next(iter(self._kept)))
            self.evictions += 1
        self._kept[key] = kept
        self.size += cost
        heappush(self._ends, (entry.servable_until, key))

    def discard(self, key: bytes) -> bool:
        """Drop what is kept under this key; whether there was anything."""
        kept = self._kept.pop(key, None)
        if kept is None:
            return False
        entry, cost, _ = kept
        self.size -= cost
        self._left(key, entry.owner)
        return True

    def expire(self, now: float) -> int:
        """Drop what is no longer servable; how many entries that were."""
        gone = 0
        while self._ends and self._ends[0][0] <= now:
            _, key = heappop(self._ends)
            kept = self._kept.get(key)
            if kept is not None and kept[0].servable_until <= now:
                gone += self.discard(key)
        if len(self._ends) > 2 * len(self._kept) + _ENDS_SPARED:
            # Most are of what has left: as many as come in a whole lifetime of entries.
            self._ends = [
                (entry.servable_until, key) for key, (entry, *_) in self._kept.items()
            ]
            heapify(self._ends)
        return gone


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
        self._sole: _Entries[V] = _Entries(max_bytes, self._unindex)
        self._copies: _Entries[V] = _Entries(max_copied_bytes, self._unindex)
        self._largest_copy = max_copied_bytes // _LARGEST_SHARE
        self._offers = RecentOffers()
        self._keys_of: dict[Owner, set[bytes]] = {}
        self._epochs = epochs or Epochs()
        self._clock = clock

    def get(self, key: bytes) -> Entry[V] | None:
        """The entry of this key while it is servable; counts as a use of it."""
        now = self._clock()
        kept = self._copies.get(key, now) or self._sole.get(key, now)
        if kept is None:
            return None
        entry, _, epoch = kept
        return entry if self._epochs.is_current(epoch) else None

    def keys_of(self, owner: Owner) -> Collection[bytes]:
        """The keys of this owner's entries, some of which may have ended."""
        return self._keys_of.get(owner, ())

    def begin_epoch(self, owner: Owner) -> int:
        """The owner's epoch, begun if there is none: take it before an entry is made.
        Given to `put`, it keeps out what was begun before the entries were dropped.
        """
        return self._epochs.begin(owner)

    def epoch_of(self, owner: Owner) -> int:
        """The owner's epoch; without one, `NO_EPOCH`, nothing can be kept."""
        return self._epochs.of(owner)

    def put(
        self,
        key: bytes,
        entry: Entry[V],
        epoch: int | None = None,
        *,
        copied: bool = False,
    ) -> bool:
        """Keep this entry in place of an older one. ``copied`` says that another place
        keeps it too: then only if it is offered often enough.

        False if it is not kept (too large, no longer servable, or a copy that is
        offered too seldom), and then the older one is gone too; or if its owner's epoch
        is another by now, and then nothing has changed.
        """
        if epoch is None:
            epoch = self._epochs.begin(entry.owner)
        if not self._epochs.keep(epoch):
            return False
        is_copy = copied and entry.size <= self._largest_copy
        entries = self._copies if is_copy else self._sole
        # The key twice: the heap may hold one of an entry that has left
        cost = entry.size + ENTRY_OVERHEAD + 2 * len(key)
        now = self._clock()
        self._expire(now)
        was_copied = self._discard(key)
        if is_copy and not was_copied and not self._offers.is_offered_again(key):
            return False
        if cost > entries.max_bytes or now >= entry.servable_until:
            return False
        entries.put(key, (entry, cost, epoch))
        self._keys_of.setdefault(entry.owner, set()).add(key)
        return True

    def drop_owner(self, owner: Owner) -> bool:
        """Drop all that is kept for this owner and end its epoch; return whether
        anything was kept in it, here or by a process that shares the epochs.
        """
        kept = self._epochs.end(owner)
        self.expire()
        for key in list(self._keys_of.get(owner, ())):
            self._discard(key)
        return kept

    def expire(self) -> int:
        """Drop what is no longer servable; how many entries that were."""
        return self._expire(self._clock())

    def __len__(self) -> int:
        self.expire()
        return len(self._sole) + len(self._copies)

    @property
    def size(self) -> int:
        """Bytes kept, overhead included."""
        self.expire()
        return self._sole.size + self._copies.size

    @property
    def evictions(self) -> int:
        """How many servable entries had to leave for want of room; no copies, as the
        other place has them.
        """
        return self._sole.evictions

    def _expire(self, now: float) -> int:
        return self._sole.expire(now) + self._copies.expire(now)

    def _discard(self, key: bytes) -> bool:
        """Drop an entry; whether it was a copy."""
        self._sole.discard(key)
        return self._copies.discard(key)

    def _unindex(self, key: bytes, owner: Owner) -> None:
        keys = self._keys_of[owner]
        keys.remove(key)
        if not keys:
            del self._keys_of[owner]
