"""The types of reading through a store: a request for an entry, and its outcome."""

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
    STALE = "STALE"  # it is old but servable, or was made of an old part
    PENDING = "PENDING"  # another asker was having it filled


class Served(Struct, Generic[V], frozen=True, gc=False):
    """An entry as an asker gets it. With ``at_hand`` the loader finds it again without
    waiting. ``epoch`` is the owner's epoch in which it was asked for: what is made of
    it may be kept only while that lasts, and with 0 never.
    """

    entry: Entry[V]
    outcome: Outcome
    at_hand: bool = False
    epoch: int = 0

    def with_value(self, value: W) -> "Served[W]":
        """The same with another value, made of this one."""
        entry = replace(self.entry, value=value)
        return Served(cast("Entry[W]", entry), self.outcome)


class Ask(Struct, Generic[V], frozen=True):
    """A request for the ``owner``'s entry of a key: one that satisfies ``want``, else
    the one that ``fill`` makes.

    If an entry was found but is too old, ``on_old`` gets it before the wait begins, so
    that it can be served if the fill fails; not one of a level where `Sharing.find`
    finds it again.
    """

    key: bytes
    owner: Owner
    want: Want
    fill: Fill[V]
    deadline: Deadline
    on_old: Callable[[Entry[V]], object]
