"""Owns the pages and leases in the store, the level that all machines share."""

import os
import re
import time
from itertools import count
from struct import Struct
from typing import Any, Final, NamedTuple

from ..cache import Found, Lease, Page, Taken, Want
from ..deadline import Clock
from ..primitives import Epochs, Owner
from .client import StoreClient, StoreObserver, StoreUnavailable
from .invalidation import Invalidations
from .reasons import reason_in
from .renewals import Renewals
from .scripts import END_LEASE, PUT, RENEW_LEASE, TAKE
from .sealing import Secrets, Unopened

__all__ = ["StorePages"]

_LARGEST_PAGE: Final = 1024 * 1024
_ENDS: Final = Struct(">d")
# Pages open while the clocks of two machines differ by no more.
_CLOCK_SLACK: Final = 60.0


class StorePages:
    """Sealed pages by key and owner; a look-up is one round trip.

    While the store fails, a look-up gives `NONE` without a lease, and a page that is
    put is lost: the asker then fills for its own machine only.

    A page is sealed together with its key, owner and times, and with the Unix time of
    its end: a store whose clock is set back prolongs it by a minute at most. ``clock``
    gives monotonic seconds, ``wall`` Unix time.
    """

    def __init__(
        self,
        client: StoreClient,
        secrets: Secrets,
        invalidations: Invalidations,
        epochs: Epochs,
        observer: StoreObserver,
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._invalidations = invalidations
        self._epochs = epochs
        self._observer = observer
        self._renewals = Renewals(client)
        self._clock = clock
        self._wall = wall
        self._worker = int.from_bytes(os.urandom(4), "big") << 32
        self._numbers = count(1)

    async def take(
        self, key: bytes, owner: Owner, want: Want, *, seconds: float
    ) -> Taken:
        """The page, if a kept one satisfies ``want``; else a lease for ``seconds``,
        renewed until it is ended, unless another machine holds one.
        """
        epoch = self._epochs.begin(owner)
        if self._invalidations.is_pending(owner):
            return Taken(Found.NONE)
        tag = self._secrets.page_tag(key)
        try:
            answer = await self._ask(tag, owner, epoch, want, seconds)
            page = self._open(tag, owner, answer)
            if page is None and answer.found in (Found.KEPT, Found.OLD):
                # A page that does not open must not keep its place.
                nothing = Want(max_age=-1.0, old_ok=want.old_ok)
                answer = await self._ask(tag, owner, epoch, nothing, seconds)
        except StoreUnavailable:
            return Taken(Found.NONE)
        found = answer.found if page or answer.found is Found.BUSY else Found.NONE
        return Taken(found, page, answer.lease)

    async def _ask(
        self, tag: str, owner: Owner, epoch: int, want: Want, seconds: float
    ) -> "_Answer":
        """The store's answer; raises `StoreUnavailable`."""
        number = self._worker | next(self._numbers)
        key = self._secrets.owner_key(owner)
        asking = self._lease_id(number), _milliseconds(seconds)
        asked = self._clock()
        answer = await self._client.call(
            "EVAL",
            TAKE,
            1,
            key,
            tag,
            "" if want.max_age is None else _milliseconds(want.max_age),
            "1" if want.old_ok else "0",
            *asking,
        )
        found, now, sealed, why_not = _checked(answer)
        if found == b"refused":
            self._client.log_refusal(why_not)
        lease = None
        if found == b"none":
            lease = Lease(number, tag.encode(), owner, epoch, now - self._clock())
            renew = "EVAL", RENEW_LEASE, 1, key, tag, *asking
            self._renewals.begin(number, seconds, *renew)
        return _Answer(_FOUND[found], sealed, asked - now, lease)

    async def put(self, lease: Lease, page: Page) -> bool:
        """Keep a page and end the lease. False if the lease was void already, the page
        is too large, its epoch has ended, or the store does not answer.
        """
        if len(page.body) > _LARGEST_PAGE or not self._epochs.keep(lease.epoch):
            await self.release(lease)
            return False
        self._renewals.end(lease.number)
        tag = lease.key.decode()
        times = b"%d %d %d " % tuple(
            _milliseconds(moment + lease.offset)
            for moment in (page.made_at, page.fresh_until, page.servable_until)
        )
        left = page.servable_until - self._clock()
        ends = _ENDS.pack(self._wall() + left)
        sealed = self._secrets.seal_page(
            lease.owner, tag.encode() + times, ends + page.body
        )
        try:
            kept = await self._client.call(
                "EVAL",
                PUT,
                1,
                self._secrets.owner_key(lease.owner),
                tag,
                self._lease_id(lease.number),
                times + sealed,
                _milliseconds(left),
            )
        except StoreUnavailable:
            return False
        return bool(kept == 1)

    async def release(self, lease: Lease) -> None:
        """End a lease without a page; has no effect if it was void already."""
        self._renewals.end(lease.number)
        try:
            await self._client.call(
                "EVAL",
                END_LEASE,
                1,
                self._secrets.owner_key(lease.owner),
                lease.key.decode(),
                self._lease_id(lease.number),
            )
        except StoreUnavailable:
            return

    def _lease_id(self, number: int) -> str:
        """A lease's id in the store, which begins with our machine."""
        return f"{self._invalidations.machine}-{number}"

    def _open(self, tag: str, owner: Owner, answer: "_Answer") -> Page | None:
        """The page in the store's answer, if there is one that opens."""
        if not answer.sealed:
            return None
        # In the form that `_checked` has seen.
        made, fresh, servable, sealed = answer.sealed.split(b" ", 3)
        offset = answer.offset
        place = b"%b%b %b %b " % (tag.encode(), made, fresh, servable)
        try:
            opened = self._secrets.open_page(owner, place, sealed)
        except Unopened:
            self._observer.store_unopened()
            return None
        (ends,) = _ENDS.unpack_from(opened)
        left = ends + _CLOCK_SLACK - self._wall()
        if left < 0:
            self._observer.store_unopened()
            return None
        latest = self._clock() + left
        return Page(
            opened[_ENDS.size :],
            int(made) / 1000 + offset,
            min(int(fresh) / 1000 + offset, latest),
            min(int(servable) / 1000 + offset, latest),
        )


class _Answer(NamedTuple):
    """The store's answer about a page. The store's clock plus ``offset`` is ours."""

    found: Found
    sealed: bytes | None
    offset: float
    lease: Lease | None


_FOUND: Final = {
    b"kept": Found.KEPT,
    b"old": Found.OLD,
    b"busy": Found.BUSY,
    b"none": Found.NONE,
    b"refused": Found.NONE,  # it could not write the lease
}
_TIMES: Final = re.compile(rb"[0-9]{1,15} [0-9]{1,15} [0-9]{1,15} ")


def _checked(answer: Any) -> tuple[bytes, float, bytes | None, str]:
    """The script's answer, checked: a store may answer anything."""
    match answer:
        case [bytes(found), int(now), (bytes() | None) as page, *why] if (
            found in _FOUND
        ):
            if page is None or _TIMES.match(page):
                return found, now / 1000, page, _reason(why)
    raise StoreUnavailable("not the answer of our script")


def _reason(why: list[Any]) -> str:
    match why:
        case [bytes(text)]:
            return reason_in(text)
    return ""


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
