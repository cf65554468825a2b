"""Owns which entries a process keeps a copy of although another place keeps them too:
a small share of its memory, for those that are asked for again and again.
"""

import time
from collections.abc import Callable, Collection, Hashable
from typing import Final, TypeVar

from .epochs import Epochs
from .store import Entry, MemoryStore

__all__ = ["CopyLimitedStore"]

V = TypeVar("V")

_LARGEST_SHARE: Final = 8  # a copy takes at most an eighth of the room for copies
_CANDIDATES: Final = 512  # about as many copies as 2 MB hold


class CopyLimitedStore(MemoryStore[V]):
    """A MemoryStore of what no other place has, with a small one beside it for copies,
    which another place gives again for some microseconds.

    >>> store: CopyLimitedStore[bytes] = CopyLimitedStore(100_000, 10_000)
    >>> page = Entry(b"page", 4, "owner", 0.0, float("inf"), float("inf"))
    >>> [store.put(b"key", page, copied=True) for _ in range(2)]
    [False, True]
    >>> store.put(b"another key", page)
    True

    A copy is kept when it is offered again within the 512 offers of others that
    follow: what is asked for now and then does not displace what is asked for all the
    time (the rule of 2Q, Johnson and Shasha 1994). A copy of more than an eighth of
    their room is kept like what no other place has: it takes milliseconds to unpack.
    """

    def __init__(
        self,
        max_bytes: int,
        max_copied_bytes: int,
        *,
        epochs: Epochs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_bytes, epochs=epochs, clock=clock)
        self._copies: MemoryStore[V] = MemoryStore(
            max_copied_bytes, epochs=self._epochs, clock=clock
        )
        self._largest_copy = max_copied_bytes // _LARGEST_SHARE
        # In the order of their offers; the values mean nothing.
        self._candidates: dict[bytes, None] = {}

    def get(self, key: bytes) -> Entry[V] | None:
        """See `Store.get`."""
        return self._copies.get(key) or super().get(key)

    def keys_of(self, owner: Hashable) -> Collection[bytes]:
        """See `Store.keys_of`."""
        return {*super().keys_of(owner), *self._copies.keys_of(owner)}

    def put(
        self,
        key: bytes,
        entry: Entry[V],
        epoch: int | None = None,
        *,
        copied: bool = False,
    ) -> bool:
        """Keep this entry in place of an older one; a ``copied`` one, which another
        place keeps too, only if it is asked for often enough.

        False if it is not kept, and then the older one is gone too; or if its owner's
        epoch is another by now, and then nothing has changed.
        """
        if epoch is None:
            epoch = self._epochs.begin(entry.owner)
        if not self._epochs.keep(epoch):
            return False
        was_copied = self._copies.discard(key)
        if not copied or entry.size > self._largest_copy:
            return super().put(key, entry, epoch)
        super().discard(key)
        again = was_copied or self._is_offered_again(key)
        return again and self._copies.put(key, entry, epoch)

    def discard(self, key: bytes) -> bool:
        """Drop this entry; whether it was kept and servable."""
        was_copied = self._copies.discard(key)
        return super().discard(key) or was_copied

    def drop_owner(self, owner: Hashable) -> bool:
        """See `Store.drop_owner`."""
        kept = super().drop_owner(owner)
        self._copies.drop_owner(owner)
        return kept

    def expire(self) -> int:
        """See `Store.expire`."""
        return super().expire() + self._copies.expire()

    def __len__(self) -> int:
        return super().__len__() + len(self._copies)

    @property
    def size(self) -> int:
        """Bytes kept, overhead included."""
        return super().size + self._copies.size

    def _is_offered_again(self, key: bytes) -> bool:
        """Whether it was offered lately; if not, it is a candidate from now on."""
        candidates = self._candidates
        if key in candidates:
            del candidates[key]
            return True
        if len(candidates) >= _CANDIDATES:
            del candidates[next(iter(candidates))]
        candidates[key] = None
        return False
