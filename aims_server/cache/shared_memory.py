"""Owns which pages the workers of one machine share, and who makes one: a directory of
pages and leases, in memory mapped before the fork. Knows bytes.

By hand, since an LMDB file on /dev/shm, 0.6 us a read beside 1.7, has no expiry, no
eviction and no leases, and leaves a file to hide; Redis takes 43-78 us a read.
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
# Of a word of the directory that names a page; its other bits are the position. Words
# of leases are thus the smaller ones.
_PAGE: Final = 1 << 63
_POSITION: Final = _PAGE - 1
# A fraction of what a page takes: sets that are a third full do not overflow. With 2048
# seven of 1000 pages of 20 000 students were lost, with 1024 none of 80 000.
_BYTES_PER_SLOT: Final = 1024
_NUMBER_BITS: Final = 32
_REMEMBERED_KEYS: Final = 128  # a page from nothing looks for each of its keys thrice


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

    Make it before the fork. It outlives every process that uses it, one by one.

    *Directory.* It says where in the ring a key's page is, or the lease of whoever
    makes one; a lease says where the page is that was there before it. A step from one
    to the next replaces that one word, and only if it is still the one that was seen. A
    new key takes the slot in its set that is worth least: of a page that the ring has
    overwritten, else of a lease without a page before it, else of the oldest page.

    *Lease.* A lease names the process that holds it, and its end. It is void past its
    end, when that process is gone, and in another epoch of the owner. Leases have a
    ring of their own, so that a flood of made-up tokens, each of which takes some,
    overwrites no page.
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
        """How far the ring has turned since it was made, in bytes."""
        return self._pages.ring.bytes_written

    def find(self, key: bytes, owner: Owner) -> Page | None:
        """The page that is kept, if it may be served."""
        hashed = self._hashed(key)
        word = self._directory.find(hashed)
        if not word:
            return None
        held = self._held(word)
        kept = (held.page if held else word) & _POSITION
        epoch = self.epochs.of(owner)
        return self._pages.read(kept, hashed, owner, epoch, self._clock())

    def take(self, key: bytes, owner: Owner, want: Want, *, seconds: float) -> Taken:
        """The page, if one is kept that satisfies ``want``; else a lease of so many
        seconds, unless another asker holds one.
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
        """Keep a page, and end the lease; False if the lease was void already, or the
        page is too large.
        """
        self.epochs.keep(lease.epoch)
        written = self._write(lease.key, lease.owner, lease.epoch, page)
        return self._end(lease, written) and bool(written)

    def keep(self, key: bytes, owner: Owner, epoch: int, page: Page) -> bool:
        """Keep a page that was made in this epoch of its owner without a lease, unless
        there is a newer one; False if it is not kept. It is no sign that the token is
        a good one (`Epochs.keep`): it may be a step of work that is refused.
        """
        hashed = self._hashed(key)
        written = self._write(hashed, owner, epoch, page)
        if not written:
            return False
        while True:
            word = self._directory.find(hashed)
            held = self._held(word)
            had = self._pages.made_at((held.page if held else word) & _POSITION)
            if had is not None and had > page.made_at:
                return False
            new = self._lease_word(replace(held, page=written)) if held else written
            if self._directory.replace(hashed, word, new):
                return True

    def release(self, lease: Lease) -> None:
        """End a lease without a page; without effect if it was void already."""
        self._end(lease, 0)

    def _end(self, lease: Lease, page: int) -> bool:
        """End a lease with the page of this word, or for 0 with that before it; False
        if it was void already.
        """
        while True:  # `keep` may give the lease a new word meanwhile
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
        """The lease that this word of the directory names."""
        if not word or word & _PAGE:
            return None
        record = self._leases.read(word, _LEASE.size)
        # Overwritten, as a page may be: its holder keeps nothing
        return _Held(*_LEASE.unpack(record)) if record else _VOID

    def _worth_least(self, words: list[int]) -> int:
        """Which of a set's words goes for a new key. In time every set is full, with
        the pages of tokens that nobody uses any more.
        """
        if 0 in words:
            return 0  # a free slot: to tell what the others are worth takes 2 us
        oldest = self._pages.ring.oldest | _PAGE

        def worth(word: int) -> int:
            held = self._held(word)
            page = held.page if held else word
            if page >= oldest:
                return page
            return word if held else 0

        return min(words, key=worth)

    def _lease_word(self, held: "_Held") -> int:
        """Write a lease; the word that names it."""
        fields = held.number, held.end, held.epoch, held.page
        return self._leases.write(_LEASE.pack(*fields))

    def _write(self, hashed: bytes, owner: Owner, epoch: int, page: Page) -> int:
        """Write a page; the word that names it, 0 if it is not written."""
        position = self._pages.write(hashed, owner, epoch, page)
        return position and position | _PAGE


class _Held(Struct, frozen=True, gc=False):
    """A lease as it lies in the ring: its end is a moment of the machine's monotonic
    clock, ``page`` the directory's word for the page before it, 0 for none.
    """

    number: int
    end: float
    epoch: int
    page: int

    def lasts(self, now: float) -> bool:
        """Whether its time is not over, and its process runs."""
        return now < self.end and _is_running(self.number >> _NUMBER_BITS)


_VOID: Final = _Held(0, 0.0, 0, 0)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # there is none, or its number is another user's process by now
        return False
    return True
