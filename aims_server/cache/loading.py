"""The vocabulary of reading through a store: requests for entries, and outcomes."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Generic, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from ..deadline import Deadline
from ..primitives import Owner
from .levels import Want
from .store import Entry

__all__ = ["Ask", "Fill", "Outcome", "Served"]

V = TypeVar("V")
W = TypeVar("W")

Fill = Callable[[Deadline], Awaitable[Entry[V]]]


class Outcome(StrEnum):
    """How an asker got an entry."""

    HIT = "HIT"  # it was kept and fresh
    MISS = "MISS"  # this asker had it filled
    STALE = "STALE"  # it is old, but servable: it was kept, or made of what was kept
    PENDING = "PENDING"  # another asker was having it filled


class Served(Struct, Generic[V], frozen=True, gc=False):
    """What an asker is given. ``at_hand`` says that the loader finds it again without
    waiting. ``epoch`` is the owner's epoch in which it was asked for: what is made of
    it may be kept only while that lasts, and with 0 not at all.
    """

    entry: Entry[V]
    outcome: Outcome
    at_hand: bool = False
    epoch: int = 0

    def with_value(self, value: W) -> "Served[W]":
        """The same with another value, which was made of this one."""
        entry = replace(self.entry, value=value)
        return Served(cast("Entry[W]", entry), self.outcome)


class Ask(Struct, Generic[V], frozen=True):
    """A request for the ``owner``'s entry of a key: one that satisfies ``want``, else
    what ``fill`` makes. Before the fill begins, or another process's is waited for,
    ``on_old`` is given the entry that was found and is too old, so that it can be
    served should the fill fail; but not one that `Sharing.find` gives again.
    """

    key: bytes
    owner: Owner
    want: Want
    fill: Fill[V]
    deadline: Deadline
    on_old: Callable[[Entry[V]], object]
