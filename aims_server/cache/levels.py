"""The value types of caches that several processes share: pages as bytes with their
times, what an asker wants, and leases, by which one asker at a time fills a key.
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
    """A kept page; its times are seconds of this machine's monotonic clock."""

    body: bytes
    made_at: float
    fresh_until: float
    servable_until: float


class Found(StrEnum):
    """The outcome of a look-up on one level."""

    KEPT = "kept"  # a fresh page that satisfies the asker
    OLD = "old"  # an old page that satisfies the asker
    BUSY = "busy"  # another asker holds the lease: look again in a moment
    NONE = "none"  # no page that satisfies; the lease, if any, is the asker's


class Want(Struct, frozen=True, gc=False):
    """What satisfies an asker: a page at most ``max_age`` seconds old (None: any age);
    one that is no longer fresh only with ``old_ok``.

    >>> page = Page(b"body", made_at=100.0, fresh_until=400.0, servable_until=2200.0)
    >>> Want().judge(page, 150.0).value, Want(max_age=15.0).judge(page, 150.0)
    ('kept', None)
    """

    max_age: float | None = None
    old_ok: bool = True

    def judge(self, page: Page, now: float) -> Found | None:
        """`KEPT` or `OLD` for a servable page, at the moment ``now``; None if it does
        not satisfy.
        """
        if self.max_age is not None and now - page.made_at > self.max_age:
            return None
        if now < page.fresh_until:
            return Found.KEPT
        return Found.OLD if self.old_ok else None


class Lease(Struct, frozen=True, gc=False):
    """The right to put one page. ``number`` is unique to the holder. Our clock plus
    ``offset`` seconds is the clock of the place where the page is shared.
    """

    number: int
    key: bytes
    owner: Owner
    epoch: int
    offset: float = 0.0


class Taken(Struct, frozen=True, gc=False):
    """What a look-up gives. With `BUSY` and `NONE`, ``page`` is a servable page that
    did not satisfy the asker, if there is one.
    """

    found: Found
    page: Page | None = None
    lease: Lease | None = None


class SharedPages(Protocol):
    """A place where the pages of this machine, or of all machines, are shared."""

    async def take(
        self, key: bytes, owner: Owner, want: Want, *, seconds: float
    ) -> Taken:
        """The page, if a kept one satisfies ``want``; else a lease for ``seconds``,
        unless another asker holds one.
        """

    async def put(self, lease: Lease, page: Page) -> bool:
        """Keep a page and end the lease; False if the page is not kept."""

    async def release(self, lease: Lease) -> None:
        """End a lease without a page."""


class Level(Struct, frozen=True):
    """One place in the order in which pages are looked for.

    ``lease_seconds`` gives a lease's duration for a flight with this deadline. Between
    look-ups of a busy key an asker pauses, first for ``first_pause`` seconds, then each
    time longer, up to ``longest_pause``. ``find`` looks up a page and ``keep`` keeps
    one of an epoch, both without a lease and without waiting; None if the place cannot
    do that.
    """

    name: str
    pages: SharedPages
    lease_seconds: Callable[[Deadline], float]
    first_pause: float
    longest_pause: float
    find: Callable[[bytes, Owner], Page | None] | None = None
    keep: Callable[[bytes, Owner, int, Page], bool] | None = None
