"""Owns the cache that the workers of a machine share: pages, and leases to make them,
in memory mapped before the fork. Knows only bytes.

Made by hand: LMDB on /dev/shm (0.6 us a read; a look-up here takes 5, most of it for
the digest) has no expiry, no eviction and no leases, and leaves a file to hide; Redis
takes 43-78 us a read.
"""

import os
import secrets
import struct
import time
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ..deadline import Clock
from ..primitives import Epochs, Owner
from .directory import KEY_BYTES, WAYS, Directory
from .levels import Found, Lease, Page, Taken, Want
from .ring import Ring
from .signed_pages import SignedPages

__all__ = ["SharedMemoryCache"]

_LEASE: Final = struct.Struct("=QdQQ")
# The bit that is set in a directory word for a page; the other bits are its position.
# Words for leases are thus smaller.
_PAGE: Final = 1 << 63
_POSITION: Final = _PAGE - 1
# Less than a page takes: sets that are a third full do not overflow. With 2048 bytes
# 0.7 % of the pages of 20 000 students were lost, with 1024 none of 80 000 students'.
_BYTES_PER_SLOT: Final = 1024
_NUMBER_BITS: Final = 32
_REMEMBERED_KEYS: Final = 128  # a cold page looks up each of its keys three times


class SharedMemoryCache:
    """Pages of at most ``max_bytes`` together; the oldest are overwritten.

    >>> cache = SharedMemoryCache(1_000_000, Epochs())
    >>> taken = cache.take(b"key", b"owner", Want(), seconds=10.0)
    >>> busy = cache.take(b"key", b"owner", Want(), seconds=10.0)
    >>> taken.found.value, busy.found.value
    ('none', 'busy')
    >>> now = time.monotonic()
    >>> cache.put(taken.lease, Page(b"body", now, now + 300, now + 2100))
    True
    >>> cache.take(b"key", b"owner", Want(), seconds=10.0).page.body
    b'body'

    Make it before the fork. Each process that uses it may die and be replaced.

    *Directory.* A key's word gives the position of its page, or of a lease to make one;
    a lease holds the word of the page before it. Every change replaces that one word,
    and only if it is still the one that was read. A new key takes the slot of its set
    that is worth least: an overwritten page's, else a lease's without a page before it,
    else the oldest page's.

    *Lease.* It holds its process id and its end. It is void after its end, when the
    process is gone, and in another epoch of the owner. Leases have a ring of their own,
    so that a flood of invented tokens, each of which takes some, overwrites no page.
    """

    def __init__(
        self,
        max_bytes: int,
        epochs: Epochs,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._pages = SignedPages(max_bytes, epochs)
        sets = max(1, self._pages.ring.size // _BYTES_PER_SLOT // WAYS)
        self._directory = Directory(sets, least=self._worth_least)
        self._leases = Ring(sets * WAYS * _LEASE.size)
        self.epochs = epochs
        self._clock = clock
        self._hash = blake2b(key=secrets.token_bytes(32), digest_size=KEY_BYTES)
        self._hashed = lru_cache(_REMEMBERED_KEYS)(self._hash_of)
        self._numbers = count(1)

    @property
    def bytes_written(self) -> int:
        """Bytes reserved for pages since the cache was made."""
        return self._pages.ring.bytes_written

    def find(self, key: bytes, owner: Owner) -> Page | None:
        """The kept page, if it is servable."""
        hashed = self._hashed(key)
        word = self._directory.find(hashed)
        if not word:
            return None
        held = self._held(word)
        kept = (held.page if held else word) & _POSITION
        epoch = self.epochs.of(owner)
        return self._pages.read(kept, hashed, owner, epoch, self._clock())

    def take(self, key: bytes, owner: Owner, want: Want, *, seconds: float) -> Taken:
        """The page, if a kept one satisfies ``want``; else a lease for ``seconds``,
        unless another asker holds one.
        """
        hashed = self._hashed(key)
        while True:
            epoch = self.epochs.begin(owner)
            word = self._directory.find(hashed)
            held = self._held(word)
            kept = held.page if held else word
            now = self._clock()
            page = self._pages.read(kept & _POSITION, hashed, owner, epoch, now)
            found = None if page is None else want.judge(page, now)
            if found is not None:
                return Taken(found, page)
            if held and held.epoch == epoch and held.lasts(now):
                return Taken(Found.BUSY, page)
            number = os.getpid() << _NUMBER_BITS | next(self._numbers)
            leased = self._lease_word(_Held(number, now + seconds, epoch, kept))
            if self._directory.replace(hashed, word, leased):
                return Taken(Found.NONE, page, Lease(number, hashed, owner, epoch))

    def put(self, lease: Lease, page: Page) -> bool:
        """Keep a page and end the lease; False if the lease was void already or the
        page is too large.
        """
        self.epochs.keep(lease.epoch)
        written = self._write(lease.key, lease.owner, lease.epoch, page)
        return self._end(lease, written) and bool(written)

    def keep(self, key: bytes, owner: Owner, epoch: int, page: Page) -> bool:
        """Keep a page of this epoch without a lease, unless a newer one is kept; False
        if it is not kept. Does not mark the epoch as used (`Epochs.keep`), since the
        page may be a step of work that the platform then refuses.
        """
        hashed = self._hashed(key)
        written = self._write(hashed, owner, epoch, page)
        if not written:
            return False
        while True:
            word = self._directory.find(hashed)
            kept = self.find(key, owner)
            if kept is not None and kept.made_at > page.made_at:
                return False
            held = self._held(word)
            new = self._lease_word(replace(held, page=written)) if held else written
            if self._directory.replace(hashed, word, new):
                return True

    def release(self, lease: Lease) -> None:
        """End a lease without a page; has no effect if it was void already."""
        self._end(lease, 0)

    def _end(self, lease: Lease, page: int) -> bool:
        """Replace the lease by this page's word, or for 0 by the word of the page
        before it; False if the lease was void already.
        """
        while True:  # `keep` may change the lease's word meanwhile
            word = self._directory.find(lease.key)
            held = self._held(word)
            if held is None or held.number != lease.number:
                return False
            if self._directory.replace(lease.key, word, page or held.page):
                return True

    def _hash_of(self, key: bytes) -> bytes:
        hashed = self._hash.copy()
        hashed.update(key)
        return hashed.digest()

    def _held(self, word: int) -> "_Held | None":
        """The lease at this word of the directory; None if it is no lease's word."""
        if not word or word & _PAGE:
            return None
        record = self._leases.read(word, _LEASE.size)
        # _VOID if it was overwritten: then its holder can keep nothing
        return _Held(*_LEASE.unpack(record)) if record else _VOID

    def _worth_least(self, words: list[int]) -> int:
        """The word of a set that makes room for a new key. In time every set is full of
        pages of tokens that nobody uses any more.
        """
        if 0 in words:
            return 0  # a free slot; to judge the other words would take 2 us
        oldest = self._pages.ring.oldest | _PAGE

        def worth(word: int) -> int:
            held = self._held(word)
            page = held.page if held else word
            if page >= oldest:
                return page
            return word if held else 0

        return min(words, key=worth)

    def _lease_word(self, held: "_Held") -> int:
        """Write a lease and return its word."""
        fields = held.number, held.end, held.epoch, held.page
        return self._leases.write(_LEASE.pack(*fields))

    def _write(self, hashed: bytes, owner: Owner, epoch: int, page: Page) -> int:
        """Write a page and return its word; 0 if it is not written."""
        position = self._pages.write(hashed, owner, epoch, page)
        return position and position | _PAGE


class _Held(Struct, frozen=True, gc=False):
    """A lease as it is in the ring: ``end`` is in monotonic seconds, ``page`` is the
    directory's word for the page before it, 0 for none.
    """

    number: int
    end: float
    epoch: int
    page: int

    def lasts(self, now: float) -> bool:
        """Whether its end has not come and its process runs."""
        return now < self.end and _is_running(self.number >> _NUMBER_BITS)


_VOID: Final = _Held(0, 0.0, 0, 0)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # there is none, or its id is now that of another user's process
        return False
    return True
