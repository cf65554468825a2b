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
    """What was filled belongs to another owner than the asker, who gets nothing."""


def _unobserved(*_: object) -> None:
    """Ignore an event."""


class ReadThrough(Generic[V]):
    """Gives entries out of a store, and fills it: once for a key, however many ask.

    A fresh entry answers. An old but servable one answers too, and is refreshed in the
    background; if that fails, nothing changes. Without one the asker waits for the
    fill. `kept` gives what can be had without waiting.

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

    An error that `is_refusal` says yes to drops everything kept for the owner; what
    fills that ran meanwhile bring is given to their waiters but not kept. `on_refusal`
    is told the owner, and whether anything was kept for it.

    `loader` runs the fill, or finds an entry elsewhere in place of it. `on_foreign` is
    called when an entry of another owner was met; `on_refresh_error` with what a
    background refresh raised, since nobody may be waiting for it.
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
        over at the deadline. Without one this raises what `fill` raised, TimeoutError
        at the deadline, FlightCancelled when the service stops, WrongOwner.
        """
        now = self._clock()
        epoch = self.epochs.of(owner)
        # Not left to a flight: one that refreshes it may take long.
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
        elif served.entry.old:  # just made of an old part: not again at once
            return replace(served, outcome=Outcome.STALE)
        return served

    async def derive(
        self,
        key: bytes,
        owner: Owner,
        source: Awaitable[Served[W]],
        make: Callable[[Entry[W]], Awaitable[Entry[V]]],
    ) -> Served[V]:
        """The entry that ``make`` makes of the entry of ``source``, with the outcome
        and the times of that. It needs no flight: of several who have waited for the
        source the first makes it.

        Raises what ``source`` and ``make`` raise, and WrongOwner.
        """
        served = await source
        entry, outcome, epoch = served.entry, served.outcome, served.epoch
        self._check_owner(entry, owner)
        if outcome is not Outcome.MISS or not entry.complete:
            kept = self.kept.find(key, owner)
            if kept is not None and kept.made_at == entry.made_at:
                return Served(kept, outcome)
            if kept is not None and kept.complete and not entry.complete:
                return Served(kept, Outcome.STALE)
        made = await make(entry)
        self._keep_at_hand(key, owner, epoch, made)
        return Served(made, outcome)

    def keep(self, key: bytes, epoch: int, entry: Entry[V]) -> None:
        """Keep in the background an entry that was made now, in this epoch of its
        owner, unless the key is being filled or a fill of it has failed just now.
        """

        async def fill(_: Deadline) -> Entry[V]:
            # Here, since another process's lease may have been waited for, and a
            # refusal meanwhile has this flight keep things in the epoch that follows.
            if not self.epochs.is_current(epoch):
                raise asyncio.CancelledError  # no failure, to be remembered or told
            return entry

        self.refresh(key, entry.owner, fill, max_age=0.0)

    def refresh(
        self, key: bytes, owner: Owner, fill: Fill[V], max_age: float | None = None
    ) -> None:
        """Fill this key in the background, unless it is being filled, or another place
        has an entry that is fresh and at most so old.
        """
        start = partial(self._refreshed, key, owner, Want(max_age, old_ok=False), fill)
        nobody_waits = Deadline(0.0, self._clock)  # the flight has its `work_seconds`
        self._flights.join(key, start, nobody_waits)

    def _refresh_old(self, key: bytes, entry: Entry[V], fill: Fill[V]) -> None:
        """Refresh what is no longer fresh, but not what is incomplete: this is kept for
        a few seconds, in which what it lacks is not asked for again.
        """
        if entry.complete:
            self.refresh(key, entry.owner, fill)

    async def _join(
        self, key: bytes, owner: Owner, want: Want, fill: Fill[V], deadline: Deadline
    ) -> Served[V]:
        """The entry of this key's flight. One that was begun by an asker that takes
        older entries may bring one that is too old here; then another is begun. What
        was made since this one asked is not too old, however few seconds it takes.
        """
        asked_at = self._clock()
        while True:
            start = partial(self._loaded, key, owner, want, fill)
            flight, joined = self._flights.join(key, start, deadline)
            served = await flight
            self._check_owner(served.entry, owner)
            if not joined or is_within(want.max_age, served.entry, asked_at):
                break
        if joined and served.outcome is Outcome.MISS:
            return replace(served, outcome=Outcome.PENDING)
        return served

    async def _loaded(
        self, key: bytes, owner: Owner, want: Want, fill: Fill[V], deadline: Deadline
    ) -> Served[V]:
        epoch = self.epochs.begin(owner)
        on_old = partial(self._keep_at_hand, key, owner, epoch)
        filled = partial(self._filled, owner, fill)
        ask = Ask(key, owner, want, filled, deadline, on_old)
        served = await self._loader.load(ask)
        self.kept.keep(key, owner, epoch, served.entry, at_hand=served.at_hand)
        return replace(served, epoch=epoch)

    def _keep_at_hand(
        self, key: bytes, owner: Owner, epoch: int, entry: Entry[V]
    ) -> None:
        """Keep an entry that was not filled, where other processes find it, too."""
        at_hand = self._loader.keep(key, owner, epoch, entry)
        self.kept.keep(key, owner, epoch, entry, at_hand=at_hand)

    async def _filled(
        self, owner: Owner, fill: Fill[V], deadline: Deadline
    ) -> Entry[V]:
        """What ``fill`` gives. A refusal takes effect at once: the loader may have to
        wait until its leases are given back, and may be cancelled meanwhile.
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
