"""Owns freshness: whether a kept entry answers, and when its key is filled anew."""

import time
from collections.abc import Awaitable, Callable, Hashable
from enum import StrEnum
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from ..deadline import Clock, Deadline
from .singleflight import SingleFlight
from .store import Entry, Store

__all__ = ["Fill", "Outcome", "ReadThrough", "Served", "WrongOwner"]

V = TypeVar("V")
W = TypeVar("W")

Fill = Callable[[Deadline], Awaitable[Entry[V]]]


class Outcome(StrEnum):
    """How an asker came by an entry."""

    HIT = "HIT"  # it was kept and fresh
    MISS = "MISS"  # this asker had it filled
    STALE = "STALE"  # it is old, but servable: it was kept, or made of what was kept
    PENDING = "PENDING"  # another asker was having it filled


class Served(NamedTuple, Generic[V]):
    """What an asker is given."""

    entry: Entry[V]
    outcome: Outcome

    def replace(self, value: W) -> "Served[W]":
        """The same with another value, made of this one."""
        entry = self.entry
        return Served(
            Entry(
                value=value,
                size=entry.size,
                owner=entry.owner,
                made_at=entry.made_at,
                fresh_until=entry.fresh_until,
                servable_until=entry.servable_until,
                old=entry.old,
            ),
            self.outcome,
        )


class WrongOwner(Exception):
    """What was filled belongs to another owner than the asker, who gets nothing."""


def _unobserved(_: object = None) -> None:
    """Leave an event to nobody."""


class ReadThrough(Generic[V]):
    """A store in front of fills, each of which runs once however many ask.

    A fresh entry answers. An old but servable one answers too, and is refreshed in the
    background; if that fails, nothing changes. Without one the asker waits for the
    fill. An entry of another owner is no entry::

        served = await through.get(key, owner, fill, Deadline(10))
        served.entry.value, served.outcome  # b"...", Outcome.MISS

    An error that `is_refusal` says yes to drops everything kept for the owner; what
    fills that ran meanwhile bring is given to their waiters but not kept.

    `on_lookup` is told what each lookup found, before any waiting; `on_foreign`, that
    an entry of another owner was met; `on_refresh_error`, what a background refresh
    raised, since it may have no other reader.
    """

    def __init__(
        self,
        store: Store[V],
        flights: SingleFlight[Entry[V]],
        *,
        refresh_deadline: Callable[[], Deadline],
        is_refusal: Callable[[BaseException], bool],
        on_lookup: Callable[[Outcome], object] = _unobserved,
        on_foreign: Callable[[], object] = _unobserved,
        on_refresh_error: Callable[[Exception], object] = _unobserved,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._flights = flights
        self._refresh_deadline = refresh_deadline
        self._is_refusal = is_refusal
        self._on_lookup = on_lookup
        self._on_foreign = on_foreign
        self._on_refresh_error = on_refresh_error
        self._clock = clock

    def peek(
        self,
        key: bytes,
        owner: Hashable,
        now: float,
        max_age: float | None = None,
    ) -> Entry[V] | None:
        """The entry that `get` would give as a HIT, counted as one; None counts for
        nothing.
        """
        entry = self._store.get(key)
        if (
            entry is None
            or now >= entry.fresh_until
            or entry.owner != owner
            or not _is_within(max_age, entry, now)
        ):
            return None
        self._on_lookup(Outcome.HIT)
        return entry

    def has(self, key: bytes, owner: Hashable) -> bool:
        """Whether an entry is kept that may be served, fresh or not."""
        return self._find(key, owner, self._clock()) is not None

    async def get(
        self,
        key: bytes,
        owner: Hashable,
        fill: Fill[V],
        deadline: Deadline,
        *,
        max_age: float | None = None,
    ) -> Served[V]:
        """The entry of this key, kept or filled.

        An entry older than `max_age` seconds is served only if a new one cannot be
        had. Raises what `fill` raised, TimeoutError when the deadline has passed,
        FlightCancelled when the service stops, WrongOwner.
        """
        now = self._clock()
        entry = self._find(key, owner, now)
        if entry is not None and _is_within(max_age, entry, now):
            if now < entry.fresh_until:
                return self._served(entry, Outcome.HIT)
            self.refresh(key, owner, fill)
            return self._served(entry, Outcome.STALE)
        start = partial(self._filled, key, owner, fill)
        filling, joined = self._flights.join(key, start, deadline)
        outcome = Outcome.PENDING if joined else Outcome.MISS
        self._on_lookup(outcome)
        try:
            filled = self._own(await filling, owner)
            return Served(filled, Outcome.STALE if filled.old else outcome)
        except Exception as error:
            old = self._find(key, owner, self._clock())
            if old is None or self._is_refusal(error):
                raise
            return Served(old, Outcome.STALE)

    def refresh(self, key: bytes, owner: Hashable, fill: Fill[V]) -> None:
        """Have this key filled with nobody waiting, unless it is being filled."""
        start = partial(self._refreshed, key, owner, fill)
        self._flights.join(key, start, self._refresh_deadline())

    def _find(self, key: bytes, owner: Hashable, now: float) -> Entry[V] | None:
        entry = self._store.get(key)
        if entry is None or now >= entry.servable_until:
            return None
        if entry.owner != owner:
            self._on_foreign()
            return None
        return entry

    async def _filled(
        self, key: bytes, owner: Hashable, fill: Fill[V], deadline: Deadline
    ) -> Entry[V]:
        generation = self._store.generation(owner)
        try:
            entry = await fill(deadline)
        except Exception as error:
            if self._is_refusal(error):
                self._store.drop_owner(owner)
            raise
        if entry.owner == owner and not self._has_newer(key, entry):
            self._store.put(key, entry, generation)
        return entry

    def _has_newer(self, key: bytes, entry: Entry[V]) -> bool:
        """Whether an old entry is no better than the one that is kept."""
        kept = self._store.get(key) if entry.old else None
        return kept is not None and kept.made_at >= entry.made_at

    async def _refreshed(
        self, key: bytes, owner: Hashable, fill: Fill[V], deadline: Deadline
    ) -> Entry[V]:
        try:
            return await self._filled(key, owner, fill, deadline)
        except Exception as error:
            self._on_refresh_error(error)
            raise

    def _own(self, entry: Entry[V], owner: Hashable) -> Entry[V]:
        if entry.owner != owner:
            self._on_foreign()
            raise WrongOwner
        return entry

    def _served(self, entry: Entry[V], outcome: Outcome) -> Served[V]:
        self._on_lookup(outcome)
        return Served(entry, outcome)


def _is_within(max_age: float | None, entry: Entry[V], now: float) -> bool:
    return max_age is None or now - entry.made_at <= max_age
