"""Owns the look-up of kept entries without waiting: in this process, and where the
loader has them at hand.
"""

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from ..deadline import Clock
from ..primitives import NO_EPOCH, Owner
from .levels import Want
from .sharing import Sharing
from .store import Entry, MemoryStore

__all__ = ["KeptEntries", "is_within"]

V = TypeVar("V")


class KeptEntries(Generic[V]):
    """The entries of owners, fresh or old. Another owner's entry counts as none.

    >>> from .sharing import Codec
    >>> store = MemoryStore(10_000)
    >>> kept = KeptEntries(
    ...     store, Sharing((), Codec(bytes, bytes, len), observer=None), print)
    >>> now = time.monotonic()
    >>> store.put(b"key", Entry(b"page", 4, b"owner", now, now + 300, now + 2100))
    True
    >>> kept.get_fresh(b"key", b"owner", now).value
    b'page'
    >>> kept.get_fresh(b"key", b"owner", now + 300), kept.find(b"key", b"owner").value
    (None, b'page')

    ``on_foreign`` is called when another owner's entry was found.
    """

    def __init__(
        self,
        store: MemoryStore[V],
        loader: Sharing[V],
        on_foreign: Callable[[], object],
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._loader = loader
        self._on_foreign = on_foreign
        self._clock = clock

    def get_fresh(
        self,
        key: bytes,
        owner: Owner,
        now: float,
        max_age: float | None = None,
    ) -> Entry[V] | None:
        """The entry, if it is fresh at ``now`` and at most ``max_age`` seconds old. One
        found beyond this process is copied here if it is asked for often.
        """
        entry = self._fresh_here(key, owner, now, max_age)
        if entry is not None:
            return entry
        # Taken before the look-up: what is found is not kept if its token is refused
        # meanwhile.
        epoch = self._store.epochs.of(owner)
        return self._find_beyond(key, owner, epoch, Want(max_age, old_ok=False))

    def find_fresh(
        self, keys: Iterable[bytes], owner: Owner, max_age: float | None = None
    ) -> dict[bytes, Entry[V]]:
        """The entries that `get_fresh` would give for these keys. None found beyond
        this process is copied here, since nobody asks for it again soon.
        """
        want = Want(max_age, old_ok=False)
        now = self._clock()
        found = {}
        for key in keys:
            entry = self._fresh_here(key, owner, now, max_age)
            entry = entry or self._loader.find(key, owner, want)
            if entry is not None:
                found[key] = entry
        return found

    def find(self, key: bytes, owner: Owner) -> Entry[V] | None:
        """The servable entry that this process or another one keeps: this process's if
        it is fresh, else the better one.
        """
        return self.find_or_copy(key, owner, NO_EPOCH, self._clock(), Want())

    def find_or_copy(
        self, key: bytes, owner: Owner, epoch: int, now: float, want: Want
    ) -> Entry[V] | None:
        """This process's entry, if it is fresh at ``now`` and of the wanted age. Else a
        better one found beyond that satisfies ``want``; else this process's old one.
        One found beyond is copied here if it is asked for often, but not with
        `NO_EPOCH`.
        """
        return (
            self._fresh_here(key, owner, now, want.max_age)
            or self._find_beyond(key, owner, epoch, want)
            or self._find_here(key, owner)
        )

    def keep(
        self,
        key: bytes,
        owner: Owner,
        epoch: int,
        entry: Entry[V],
        *,
        at_hand: bool,
    ) -> None:
        """Keep an entry of this owner and epoch if it is better than the kept one. If
        the loader has it ``at_hand``, it is kept as a copy.
        """
        if entry.owner != owner:
            return
        kept = [self._store.get(key)]
        if not at_hand:  # else it is the best one at hand already
            kept.append(self._loader.find(key, owner, Want()))
        if not all(map(entry.replaces, kept)):
            return
        epochs = self._store.epochs
        if entry.complete:
            epochs.revise(epoch)  # what other processes have copied is older
        revision = epochs.revision(epoch) if at_hand else None
        self._store.put(key, entry, epoch, revision=revision)

    def _fresh_here(
        self, key: bytes, owner: Owner, now: float, max_age: float | None
    ) -> Entry[V] | None:
        """This process's entry, if it is fresh and of the wanted age."""
        entry = self._store.get(key)
        if (
            entry is not None
            and now < entry.fresh_until
            and entry.owner == owner
            and is_within(max_age, entry, now)
        ):
            return entry
        return None

    def _find_here(self, key: bytes, owner: Owner) -> Entry[V] | None:
        entry = self._store.get(key)
        if entry is not None and entry.owner != owner:
            self._on_foreign()
            return None
        return entry

    def _find_beyond(
        self, key: bytes, owner: Owner, epoch: int, want: Want
    ) -> Entry[V] | None:
        """The entry that another process has put at hand, if it is better than this
        process's own; it may be copied here.
        """
        revision = self._store.epochs.revision(epoch)
        found = self._loader.find(key, owner, want)
        if found is None or not found.replaces(self._find_here(key, owner)):
            return None
        self._store.put(key, found, epoch, revision=revision)
        return found


def is_within(max_age: float | None, entry: Entry[V], now: float) -> bool:
    """Whether an entry is at most ``max_age`` seconds old; None allows any age."""
    return max_age is None or now - entry.made_at <= max_age
