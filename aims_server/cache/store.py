"""Owns the entries in this process's memory: bounded in bytes and in time, indexed by
owner.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from cachetools import TLRUCache
from msgspec import Struct

from ..primitives import NO_EPOCH, Epochs, Owner
from .copies import RecentOffers

__all__ = ["ENTRY_OVERHEAD", "Entry", "MemoryStore"]

V = TypeVar("V")

# The bytes that an entry costs beside its value and the characters of its key: the
# Entry with its nine fields, its owner, and its places in TLRUCache's three tables, in
# its heap (one live item, one that has left but is not yet swept) and in both indexes.
# CPython 3.11 needs 730 to 1460, depending on how full the tables are
# (tests/cache/test_store.py measures it).
ENTRY_OVERHEAD: Final = 1472
# Seconds between two pages of one old part that are kept: each overwrites others' pages
# in the machine's memory.
_BETWEEN_OLD: Final = 60.0
_LARGEST_SHARE: Final = 8  # a copy has at most an eighth of the room for copies


class Entry(Struct, Generic[V], frozen=True):
    """A kept value. `size` is in bytes, with everything the value refers to; times are
    seconds of the monotonic clock.

    An entry was made at `made_at`, or its oldest part was; it is fresh until
    `fresh_until` and servable until `servable_until`. An `old` one was made of a part
    that was no longer fresh, and was never fresh itself: its `fresh_until` is when it
    was made. One that is not `complete` never replaces a complete one. `student_id` is
    the student whom the platform has named to this owner, if it has. Several askers get
    the same entry: its value must be bytes or frozen.
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
        """Whether this entry is to be kept in place of ``kept``. Complete is better
        than incomplete, then newer is better. An old one is better, too, if the kept
        one was stale for a minute when it was made: its other parts are newer.
        """
        if kept is None:
            return True
        if kept.complete is not self.complete:
            return self.complete
        if self.old and kept.fresh_until + _BETWEEN_OLD <= self.fresh_until:
            return True
        if kept.made_at == self.made_at:
            return not self.old
        return kept.made_at < self.made_at


# An entry, its whole cost in bytes (TLRUCache asks for the size without the key), the
# epoch of its owner, and for a copy its revision.
_Kept = tuple[Entry[V], int, int, int | None]
_NOTHING: Final[_Kept[Any]] = (Entry(None, 0, b"", 0.0, 0.0, 0.0), 0, NO_EPOCH, None)


class _Entries(TLRUCache[bytes, _Kept[V], float]):
    """A TLRUCache that reports expired and evicted entries to ``left``.

    Nearly each of its methods may expire entries, so the store's indexes are exact only
    if `expire` itself reports them. A key that has expired gives `_NOTHING`.
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
        self._left(gone)
        return gone

    def __missing__(self, key: bytes) -> _Kept[V]:
        return _NOTHING

    def make_room(self, cost: int) -> None:
        """Evict the least recently used entries until there is room for ``cost``."""
        while self.currsize + cost > self.maxsize:
            self._left([self.popitem()])
            self.evictions += 1


class MemoryStore(Generic[V]):
    """Entries of at most `max_bytes`; the least recently used are evicted.

    >>> store: MemoryStore[bytes] = MemoryStore(10_000, clock=lambda: 0.0)
    >>> store.put(b"key", Entry(b"page", 4, b"owner", 0.0, 300.0, 2100.0))
    True
    >>> store.drop_owner(b"owner"), store.get(b"key")
    (True, None)

    A copy is an entry that another place keeps too and gives again in microseconds. It
    is given until that place has something newer of its owner (`Epochs.revise`).
    Copies have `max_copied_bytes` of their own. A copy is kept when it is offered a
    second time within 512 other offers. One larger than an eighth of that room is kept
    like any other entry, since unpacking it again would take milliseconds.

    Expired entries leave when anything is put or dropped; in a store without traffic
    call `expire` from time to time. If other processes share the `epochs`, a drop in
    one of them voids the owner's entries here too.
    """

    def __init__(
        self,
        max_bytes: int,
        max_copied_bytes: int = 0,
        *,
        epochs: Epochs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sole: _Entries[V] = _Entries(max_bytes, clock, self._unindex)
        self._copies: _Entries[V] = _Entries(max_copied_bytes, clock, self._unindex)
        # Which of the two tables has a key. Most keys are in neither, and asking both
        # would take ten times as long.
        self._table_of: dict[bytes, _Entries[V]] = {}
        self._largest_copy = max_copied_bytes // _LARGEST_SHARE
        self._offers = RecentOffers()
        self._keys_of: dict[Owner, set[bytes]] = {}
        self.epochs: Final = epochs or Epochs()

    def get(self, key: bytes) -> Entry[V] | None:
        """The entry of this key while it is servable; counts as a use."""
        table = self._table_of.get(key)
        if table is None:
            return None
        # .get() freezes the clock and looks twice, at three times the cost
        entry, _, epoch, revision = table[key]
        if not self.epochs.is_current(epoch):
            return None
        if revision is not None and self.epochs.revision(epoch) != revision:
            return None  # another process has kept a newer one since
        return entry

    def put(
        self,
        key: bytes,
        entry: Entry[V],
        epoch: int | None = None,
        *,
        revision: int | None = None,
    ) -> bool:
        """Keep this entry in place of the key's present one; return whether it is kept.
        Its owner's ``epoch``, taken before it was made, keeps out an entry whose making
        began before a drop. A ``revision``, of the epoch before the entry was found in
        another place, says that this is a copy of what that keeps.

        An entry that is too large, no longer servable, or a copy offered too seldom is
        not kept, and the present one is dropped. If the owner's epoch has ended,
        nothing changes.
        """
        if epoch is None:
            epoch = self.epochs.begin(entry.owner)
        if not self.epochs.keep(epoch):
            return False
        is_copy = revision is not None and entry.size <= self._largest_copy
        table = self._copies if is_copy else self._sole
        present = self._table_of.get(key)
        wanted = table is present or not is_copy or self._offers.is_offered_again(key)
        if present is None and not wanted:
            return False  # as mostly
        # The key twice: an item that left keeps its own in the heap until it is swept
        cost = entry.size + ENTRY_OVERHEAD + 2 * len(key)
        with self._sole.timer, self._copies.timer, table.timer as now:
            self.expire()
            self._discard(key)
            if not wanted or cost > table.maxsize or now >= entry.servable_until:
                return False
            table.make_room(cost)
            table[key] = (entry, cost, epoch, revision)
            self._table_of[key] = table
            self._keys_of.setdefault(entry.owner, set()).add(key)
        return True

    def drop_owner(self, owner: Owner) -> bool:
        """Drop everything kept for this owner and end its epoch. Return whether
        anything was kept in it, here or by a process that shares the epochs.
        """
        kept = self.epochs.end(owner)
        # The clocks stand still: TLRUCache raises KeyError for deleting an entry that
        # has expired since it was found.
        with self._sole.timer, self._copies.timer:
            self.expire()
            for key in list(self._keys_of.get(owner, ())):
                self._discard(key)
        return kept

    def expire(self) -> int:
        """Drop what is no longer servable; return the number of entries dropped."""
        return len(self._sole.expire()) + len(self._copies.expire())

    def __len__(self) -> int:
        return len(self._sole) + len(self._copies)

    @property
    def size(self) -> int:
        """The bytes kept, overhead included."""
        return int(self._sole.currsize + self._copies.currsize)

    @property
    def evictions(self) -> int:
        """The number of servable entries evicted for lack of room. Copies do not count,
        since the other place has them.
        """
        return self._sole.evictions

    def _discard(self, key: bytes) -> None:
        """Drop an entry. The caller has stopped the clocks and expired entries."""
        table = self._table_of.get(key)
        if table is not None:
            self._unindex([(key, table.pop(key))])

    def _unindex(self, gone: Iterable[tuple[bytes, _Kept[V]]]) -> None:
        for key, (entry, *_) in gone:
            del self._table_of[key]
            keys = self._keys_of[entry.owner]
            keys.remove(key)
            if not keys:
                del self._keys_of[entry.owner]
