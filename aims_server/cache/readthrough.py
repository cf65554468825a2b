"""Owns freshness: whether a kept entry answers, and when its key is filled anew."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

from msgspec.structs import replace

from ..deadline import Clock, Deadline
from ..primitives import Owner
from .kept_entries import KeptEntries, is_within
from .levels import Want
from .loading import Ask, Fill, Outcome, Served
from .sharing import Sharing
from .singleflight import SingleFlight
from .store import Entry, MemoryStore

__all__ = ["ReadThrough", "WrongOwner"]

V = TypeVar("V")
W = TypeVar("W")


class WrongOwner(Exception):
    """The filled entry belongs to another owner than the asker, who gets nothing."""


def _unobserved(*_: object) -> None:
    """Ignore an event."""


class ReadThrough(Generic[V]):
    """Serves entries from a store and fills it, once for a key however many ask.

    A fresh entry is served. An old but servable one is served too and refreshed in the
    background; if that fails, nothing changes. Without an entry the asker waits for the
    fill. `kept` has the entries that need no wait.

    >>> from aims_server.cache.sharing import Codec
    >>> async def example():
    ...     unshared = Sharing((), Codec(bytes, bytes, len), observer=None)
    ...     through = ReadThrough(
    ...         MemoryStore(10_000), SingleFlight(), loader=unshared,
    ...         is_refusal=lambda error: False)
    ...     async def fill(deadline):
    ...         now = time.monotonic()
    ...         return Entry(b"page", 4, b"owner", now, now + 300, now + 2100)
    ...     for _ in range(2):
    ...         served = await through.get(b"key", b"owner", fill, Deadline(10))
    ...         print(served.entry.value, served.outcome)
    >>> import asyncio
    >>> asyncio.run(example())
    b'page' MISS
    b'page' HIT

    An error for which `is_refusal` returns True drops everything kept for the owner.
    Other fills that ran meanwhile are served to their waiters but not kept.
    `on_refusal` gets the owner, and whether anything was kept for it.

    `loader` runs the fill, or finds an entry elsewhere instead. `on_foreign` is called
    when another owner's entry was found, `on_refresh_error` with the error of a
    background refresh, for which nobody may be waiting.
    """

    def __init__(
        self,
        store: MemoryStore[V],
        flights: SingleFlight[Served[V]],
        *,
        loader: Sharing[V],
        is_refusal: Callable[[BaseException], bool],
        on_refusal: Callable[[Owner, bool], object] = _unobserved,
        on_foreign: Callable[[], object] = _unobserved,
        on_refresh_error: Callable[[Exception], object] = _unobserved,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self.epochs: Final = store.epochs
        self._flights = flights
        self._loader = loader
        self._is_refusal = is_refusal
        self._on_refusal = on_refusal
        self._on_foreign = on_foreign
        self._on_refresh_error = on_refresh_error
        self._clock = clock
        self.kept = KeptEntries(store, loader, on_foreign, clock=clock)

    async def get(
        self,
        key: bytes,
        owner: Owner,
        fill: Fill[V],
        deadline: Deadline,
        *,
        max_age: float | None = None,
    ) -> Served[V]:
        """The entry of this key, kept or filled.

        An entry older than `max_age` seconds is served only if the fill fails or is not
        over at the deadline. Without such an entry, raises what `fill` raised,
        TimeoutError at the deadline, FlightCancelled when the service stops, and
        WrongOwner.
        """
        now = self._clock()
        epoch = self.epochs.of(owner)
        # Before joining a flight: one that refreshes the entry may take long.
        entry = self.kept.find_or_copy(key, owner, epoch, now, Want(max_age))
        if entry is not None and is_within(max_age, entry, now):
            if now < entry.fresh_until:
                return Served(entry, Outcome.HIT, epoch=epoch)
            self._refresh_old(key, entry, fill)
            return Served(entry, Outcome.STALE, epoch=epoch)
        try:
            served = await self._join(key, owner, Want(max_age), fill, deadline)
        except Exception as error:
            old = self.kept.find(key, owner)
            if old is None or self._is_refusal(error):
                raise
            return Served(old, Outcome.STALE, epoch=epoch)
        if served.outcome is Outcome.STALE:
            self._refresh_old(key, served.entry, fill)
        elif served.entry.old:  # just made of an old part: no refresh at once
            return replace(served, outcome=Outcome.STALE)
        return served

    async def derive(
        self,
        key: bytes,
        owner: Owner,
        source: Awaitable[Served[W]],
        make: Callable[[Entry[W]], Awaitable[Entry[V]]],
    ) -> Served[V]:
        """The entry that ``make`` makes of the ``source`` entry, whose outcome and
        times it has. It needs no flight: the first of those who waited for the source
        makes it.

        Raises what ``source`` and ``make`` raise, and WrongOwner.
        """
        served = await source
        entry, outcome, epoch = served.entry, served.outcome, served.epoch
        self._check_owner(entry, owner)
        kept = self.kept.find(key, owner)
        if kept is not None and kept.made_at == entry.made_at:
            return Served(kept, outcome)
        if kept is not None and kept.complete and not entry.complete:
            return Served(kept, Outcome.STALE)
        made = await make(entry)
        self._keep_at_hand(key, owner, epoch, made)
        return Served(made, outcome)

    def keep(self, key: bytes, epoch: int, entry: Entry[V]) -> None:
        """Keep in the background an entry made just now, in this epoch of its owner,
        unless a fill of the key is under way or has just failed.
        """

        async def fill(_: Deadline) -> Entry[V]:
            # Checked here: after a wait for another process's lease the token may have
            # been refused, and this flight would keep the entry in the next epoch.
            if not self.epochs.is_current(epoch):
                raise asyncio.CancelledError  # not remembered or logged as a failure
            return entry

        self.refresh(key, entry.owner, fill, max_age=0.0)

    def refresh(
        self, key: bytes, owner: Owner, fill: Fill[V], max_age: float | None = None
    ) -> None:
        """Fill this key in the background, unless a fill is under way or another place
        has a fresh entry that is at most ``max_age`` seconds old.
        """
        start = partial(self._refreshed, key, owner, Want(max_age, old_ok=False), fill)
        nobody_waits = Deadline(0.0, self._clock)  # the flight has its `work_seconds`
        self._flights.join(key, start, nobody_waits)

    def _refresh_old(self, key: bytes, entry: Entry[V], fill: Fill[V]) -> None:
        """Refresh an old entry, unless it is incomplete: that is kept for a few
        seconds, in which what it lacks is not asked for again.
        """
        if entry.complete:
            self.refresh(key, entry.owner, fill)

    async def _join(
        self, key: bytes, owner: Owner, want: Want, fill: Fill[V], deadline: Deadline
    ) -> Served[V]:
        """The entry of this key's flight. A flight of an asker that accepts older
        entries may bring one too old for this asker; then another flight is begun. An
        entry made since this asker came is never too old, even if it was made of an old
        part: another flight would make it of the same part.
        """
        asked_at = self._clock()
        while True:
            start = partial(self._loaded, key, owner, want, fill)
            flight, joined = self._flights.join(key, start, deadline)
            served = await flight
            self._check_owner(served.entry, owner)
            filled = served.outcome is Outcome.MISS
            if (
                not joined
                or (filled and served.entry.old)
                or is_within(want.max_age, served.entry, asked_at)
            ):
                break
        if joined and filled:
            return replace(served, outcome=Outcome.PENDING)
        return served

    async def _loaded(
        self, key: bytes, owner: Owner, want: Want, fill: Fill[V], deadline: Deadline
    ) -> Served[V]:
        epoch = self.epochs.begin(owner)
        on_old = partial(self._keep_old, key, owner, epoch)
        filled = partial(self._filled, owner, fill)
        ask = Ask(key, owner, want, filled, deadline, on_old)
        served = await self._loader.load(ask)
        self.kept.keep(key, owner, epoch, served.entry, at_hand=served.at_hand)
        return replace(served, epoch=epoch)

    def _keep_old(self, key: bytes, owner: Owner, epoch: int, entry: Entry[V]) -> None:
        """Keep an entry that is too old for its asker, unless a better one is kept."""
        if entry.replaces(self.kept.find(key, owner)):
            self._keep_at_hand(key, owner, epoch, entry)

    def _keep_at_hand(
        self, key: bytes, owner: Owner, epoch: int, entry: Entry[V]
    ) -> None:
        """Keep an entry that was not filled, also where other processes find it."""
        at_hand = self._loader.keep(key, owner, epoch, entry)
        self.kept.keep(key, owner, epoch, entry, at_hand=at_hand)

    async def _filled(
        self, owner: Owner, fill: Fill[V], deadline: Deadline
    ) -> Entry[V]:
        """Run ``fill``. A refusal takes effect here, at once: the loader has yet to
        release its leases, and may be cancelled meanwhile.
        """
        try:
            return await fill(deadline)
        except Exception as error:
            if self._is_refusal(error):
                self._on_refusal(owner, self._store.drop_owner(owner))
            raise

    async def _refreshed(
        self, key: bytes, owner: Owner, want: Want, fill: Fill[V], deadline: Deadline
    ) -> Served[V]:
        try:
            return await self._loaded(key, owner, want, fill, deadline)
        except Exception as error:
            self._on_refresh_error(error)
            raise

    def _check_owner(self, entry: Entry[Any], owner: Owner) -> None:
        if entry.owner != owner:
            self._on_foreign()
            raise WrongOwner
