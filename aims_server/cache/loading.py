"""The vocabulary of reading through a store: how an asker came by an entry, and where
entries come from that this process has not.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Generic, NamedTuple, Protocol, TypeVar, cast

import msgspec

from ..deadline import Deadline
from .levels import Owner, Want
from .store import Entry

__all__ = ["Ask", "Fill", "Loader", "Outcome", "Served"]

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
    """What an asker is given; ``at_hand`` says that the loader finds it again without
    waiting, ``epoch`` in which of its owner it was asked for: what is made of it may be
    kept in that one only, in 0 not at all.
    """

    entry: Entry[V]
    outcome: Outcome
    at_hand: bool = False
    epoch: int = 0

    def replace(self, value: W) -> "Served[W]":
        """The same with another value, made of this one."""
        entry = msgspec.structs.replace(self.entry, value=value)
        return Served(cast(Entry[W], entry), self.outcome)


class Ask(NamedTuple, Generic[V]):
    """The ``owner``'s entry of a key, which will do if it is as in ``want`` and is else
    to be made by ``fill``. One that was found but would not do, and is not at hand, is
    given to ``on_old`` before the fill, which may fail.
    """

    key: bytes
    owner: Owner
    want: Want
    fill: Fill[V]
    deadline: Deadline
    on_old: Callable[[Entry[V]], object]


class Loader(Protocol[V]):
    """Where an entry comes from that this process has not: from a fill, or from where
    other processes have put it.
    """

    async def load(self, ask: Ask[V]) -> Served[V]:
        """The entry, found or filled; raises what the fill raises, and TimeoutError."""

    def find(self, key: bytes, owner: Owner, want: Want) -> Entry[V] | None:
        """The owner's entry that will do, if it is at hand: nothing is filled or waited
        for.
        """

    def keep(self, key: bytes, owner: Owner, epoch: int, entry: Entry[V]) -> bool:
        """Have `find` find an entry, from here on; False if it will not."""
