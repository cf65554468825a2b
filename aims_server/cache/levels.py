"""The vocabulary of caches that several processes share: pages as bytes with their
times, what an asker wants, and leases that let one asker at a time fill a key.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from ..deadline import Deadline
from ..primitives import Owner

__all__ = [
    "Found",
    "Lease",
    "Level",
    "Page",
    "SharedPages",
    "Taken",
    "Want",
]


class Page(Struct, frozen=True, gc=False):
    """A kept page; moments are seconds of this machine's monotonic clock."""

    body: bytes
    made_at: float
    fresh_until: float
    servable_until: float


class Found(StrEnum):
    """What a look-up has found."""

    KEPT = "kept"  # a fresh page that satisfies the asker
    OLD = "old"  # one that is no longer fresh and satisfies the asker
    BUSY = "busy"  # another asker holds the lease: look again in a moment
    NONE = "none"  # nothing that satisfies; the lease, if any, is the asker's


class Want(Struct, frozen=True, gc=False):
    """What satisfies an asker: a page of at most ``max_age`` seconds, if that is given;
    one that is no longer fresh only with ``old_ok``.

    >>> page = Page(b"body", made_at=100.0, fresh_until=400.0, servable_until=2200.0)
    >>> Want().judge(page, 150.0).value, Want(max_age=15.0).judge(page, 150.0)
    ('kept', None)
    """

    max_age: float | None = None
    old_ok: bool = True

    def judge(self, page: Page, now: float) -> Found | None:
        """`KEPT` or `OLD` at the moment ``now``; None if the page does not satisfy."""
        if self.max_age is not None and now - page.made_at > self.max_age:
            return None
        if now < page.fresh_until:
            return Found.KEPT
        return Found.OLD if self.old_ok and now < page.servable_until else None


class Lease(Struct, frozen=True, gc=False):
    """The right to put one page. ``number`` is unique to its holder; ``offset`` seconds
    are added to our clock to get that of the place where the page is shared.
    """

    number: int
    key: bytes
    owner: Owner
    epoch: int
    offset: float = 0.0


class Taken(Struct, frozen=True, gc=False):
    """The outcome of a look-up. With `BUSY` and `NONE`, ``page`` is a servable one that
    did not satisfy, if there was one.
    """

    found: Found
    page: Page | None = None
    lease: Lease | None = None


class SharedPages(Protocol):
    """Where pages are shared: of this machine, or of all machines."""

    async def take(
        self, key: bytes, owner: Owner, want: Want, *, seconds: float
    ) -> Taken:
        """The page, if one is kept that satisfies ``want``; else a lease of so many
        seconds, unless another asker holds one.
        """

    async def put(self, lease: Lease, page: Page) -> bool:
        """Keep a page, and end the lease; False if it is not kept."""

    async def release(self, lease: Lease) -> None:
        """End a lease without a page."""


class Level(Struct, frozen=True):
    """One place in the order in which pages are looked for.

    ``lease_seconds`` is how long a lease lasts for a flight with this deadline. Between
    two look-ups of a busy key there are pauses in seconds, from ``first_pause`` to
    ``longest_pause``, each ``growth`` times the one before. ``find`` looks up a page,
    ``keep`` keeps one of an epoch, without a lease and without waiting; None where the
    place cannot.
    """

    name: str
    pages: SharedPages
    lease_seconds: Callable[[Deadline], float]
    first_pause: float
    growth: float
    longest_pause: float
    find: Callable[[bytes, Owner], Page | None] | None = None
    keep: Callable[[bytes, Owner, int, Page], bool] | None = None
