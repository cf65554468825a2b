"""Owns the pages that the workers of one machine share: a ring of bodies, a directory
of records and leases, in memory mapped before the fork. Knows bytes.

By hand, since an LMDB file on /dev/shm, 0.6 us a read beside 1.7, has no expiry, no
eviction and no leases, and leaves a file to hide; Redis takes 43-78 us a read.
"""

import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from typing import Final, NamedTuple

from ..deadline import Clock
from ..primitives import Mutexes
from .epochs import Epochs
from .levels import Found, Lease, Owner, Page, Taken, Want, owner_bytes

__all__ = ["SharedMemoryCache"]

_WAYS: Final = 8
_KEY_BYTES: Final = 32
_KEYS: Final = struct.Struct(f"{_KEY_BYTES}s" * _WAYS)
# Native and aligned: each number is stored by one instruction, which no death can cut.
_RECORD: Final = struct.Struct("@QQddd16sQdQ")
_RECORD_BYTES: Final = _RECORD.size
_LEASE: Final = struct.Struct("@QdQ")
_LEASE_AT: Final = _RECORD_BYTES - _LEASE.size
_PAGE: Final = struct.Struct("@QQddd16s")
_SET_BYTES: Final = _WAYS * (_KEY_BYTES + _RECORD_BYTES)
_SIGNED: Final = struct.Struct("=dddQ")
_DIGEST_BYTES: Final = 16
_SET_LOCKS: Final = 256
_RING_LOCK: Final = _SET_LOCKS
_BYTES_PER_RECORD: Final = 2048  # the smaller half of the pages, compressed
_LARGEST_SHARE: Final = 8  # a body takes at most an eighth of the ring
_NUMBER_BITS: Final = 32


class _Record(NamedTuple):
    position: int
    length: int
    made_at: float
    fresh_until: float
    servable_until: float
    digest: bytes
    lease_number: int
    lease_end: float
    lease_epoch: int


class SharedMemoryCache:
    """Pages of at most ``max_bytes`` together; the oldest are overwritten.

    >>> cache = SharedMemoryCache(1_000_000, Epochs())
    >>> taken = cache.take(b"key", 5900001, Want(), seconds=10.0)
    >>> taken.found.value, cache.take(b"key", 5900001, Want(), seconds=10.0).found.value
    ('none', 'busy')
    >>> now = time.monotonic()
    >>> cache.put(taken.lease, Page(b"body", now, now + 300, now + 2100))
    True
    >>> cache.take(b"key", 5900001, Want(), seconds=10.0).page.body
    b'body'

    Make it before the fork. It outlives every process that uses it, one by one.

    *Ring.* A writer reserves room under one lock and then copies, with none. What is
    reserved by a process that dies is a hole that no record points at.

    *Directory.* A key lives in one of the eight records of its set. A new key takes the
    record whose page ends first and which nobody is filling. A set is locked while a
    record is read or written, with one of 256 locks that a death sets free.

    *Digest.* A record carries a keyed digest over its key, owner, epoch, times and
    body, checked at each read. A body overwritten while it is read, a record cut short
    by SIGKILL and an owner whose epoch has advanced are thus one case: no page.

    *Lease.* The process that holds one, and its end. It is void past its end, when
    that process is gone, and in another epoch of the owner.
    """

    def __init__(
        self,
        max_bytes: int,
        epochs: Epochs,
        *,
        clock: Clock = time.monotonic,
        is_running: Callable[[int], bool] | None = None,
    ) -> None:
        self._size = max(max_bytes, mmap.PAGESIZE)
        self._sets = max(1, self._size // _BYTES_PER_RECORD // _WAYS)
        self._epochs = epochs
        self._clock = clock
        self._is_running = is_running or _is_running
        self._ring = mmap.mmap(-1, self._size)
        self._directory = mmap.mmap(-1, self._sets * _SET_BYTES)
        self._head_memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._head = memoryview(self._head_memory).cast("Q")
        self._locks = Mutexes(_SET_LOCKS + 1)
        secret = secrets.token_bytes(32)
        self._hash_key = blake2b(key=secret, digest_size=_KEY_BYTES, person=b"key")
        self._hash_page = blake2b(key=secret, digest_size=_DIGEST_BYTES, person=b"page")
        self._numbers = count(1)

    @property
    def bytes_written(self) -> int:
        """How far the ring has turned since it was made, in bytes."""
        return self._head[0]

    def find(self, key: bytes, owner: Owner) -> Page | None:
        """The page that is kept, if it may be served."""
        tag = self._tag(key)
        return self._servable(tag, owner, self._epochs.of(owner), self._read(tag))

    def take(self, key: bytes, owner: Owner, want: Want, *, seconds: float) -> Taken:
        """The page, if one is kept that will do; else a lease of so many seconds,
        unless another asker holds one.
        """
        tag = self._tag(key)
        while True:
            epoch = self._epochs.begin(owner)
            record = self._read(tag)
            page = self._servable(tag, owner, epoch, record)
            found = None if page is None else want.judge(page, self._clock())
            if found is not None:
                return Taken(found, page)
            taken = self._try_lease(tag, owner, epoch, record, seconds)
            if taken is not None:
                return taken._replace(page=page)

    def put(self, lease: Lease, page: Page) -> bool:
        """Keep a page, and end the lease; False if the lease was void already, or the
        page is too large.
        """
        if not self._epochs.keep(lease.epoch):
            return False
        position = self._reserve(len(page.body))
        if position is None:
            self.release(lease)
            return False
        start = position % self._size
        self._ring[start : start + len(page.body)] = page.body
        digest = self._digest(lease.key, lease.owner, lease.epoch, page)
        with self._locked(lease.key) as first:
            at = self._find(first, lease.key)
            if at is None or not self._holds(at, lease):
                return False
            _PAGE.pack_into(
                self._directory,
                at,
                position,
                len(page.body),
                page.made_at,
                page.fresh_until,
                page.servable_until,
                digest,
            )
            self._end_lease(at)
        return True

    def release(self, lease: Lease) -> None:
        """End a lease without a page; without effect if it was void already."""
        with self._locked(lease.key) as first:
            at = self._find(first, lease.key)
            if at is not None and self._holds(at, lease):
                self._end_lease(at)

    def _tag(self, key: bytes) -> bytes:
        hashed = self._hash_key.copy()
        hashed.update(key)
        return hashed.digest()

    def _servable(
        self, tag: bytes, owner: Owner, epoch: int, record: _Record | None
    ) -> Page | None:
        """The page that a record points at, unless its time is over."""
        page = self._open(tag, owner, epoch, record) if record else None
        return page if page and self._clock() < page.servable_until else None

    # -- directory ---------------------------------------------------------

    @contextmanager
    def _locked(self, tag: bytes) -> Iterator[int]:
        """Hold the lock of a key's set; gives the set's place in the directory."""
        number = int.from_bytes(tag[:8], "little") % self._sets
        lock = number % _SET_LOCKS
        self._locks.acquire(lock)
        try:
            yield number * _SET_BYTES
        finally:
            self._locks.release(lock)

    def _find(self, first: int, tag: bytes) -> int | None:
        """Where the record of a key is, in its locked set."""
        keys = _KEYS.unpack_from(self._directory, first)
        if tag not in keys:
            return None
        return _record_at(first, keys.index(tag))

    def _read(self, tag: bytes) -> _Record | None:
        with self._locked(tag) as first:
            at = self._find(first, tag)
            return None if at is None else self._record(at)

    def _record(self, at: int) -> _Record:
        return _Record._make(_RECORD.unpack_from(self._directory, at))

    def _try_lease(
        self, tag: bytes, owner: Owner, epoch: int, seen: _Record | None, seconds: float
    ) -> Taken | None:
        """The lease, or `BUSY`; None if the page is another by now than was seen."""
        with self._locked(tag) as first:
            now = self._clock()
            at = self._find(first, tag)
            if at is not None:
                record = self._record(at)
                if seen is None or record.digest != seen.digest:
                    return None
                if record.lease_epoch == epoch and self._is_leased(record, now):
                    return Taken(Found.BUSY)
            else:
                at = self._make_room(first, tag, now)
            number = os.getpid() << _NUMBER_BITS | next(self._numbers)
            if at is not None:
                end = now + seconds
                _LEASE.pack_into(self._directory, at + _LEASE_AT, number, end, epoch)
        return Taken(Found.NONE, lease=Lease(number, tag, owner, epoch))

    def _make_room(self, first: int, tag: bytes, now: float) -> int | None:
        """Give a record of this set to a new key; None if all are being filled."""
        ends = {}
        for way in range(_WAYS):
            record = self._record(_record_at(first, way))
            if not self._is_leased(record, now):
                ends[way] = record.servable_until
        if not ends:
            return None
        way = min(ends, key=ends.__getitem__)
        at = _record_at(first, way)
        _RECORD.pack_into(self._directory, at, 0, 0, 0, 0, 0, b"", 0, 0, 0)
        key_at = first + way * _KEY_BYTES
        self._directory[key_at : key_at + _KEY_BYTES] = tag
        return at

    def _is_leased(self, record: _Record, now: float) -> bool:
        return now < record.lease_end and self._is_running(
            record.lease_number >> _NUMBER_BITS
        )

    def _holds(self, at: int, lease: Lease) -> bool:
        """Whether a lease still is the one of this record."""
        number = _LEASE.unpack_from(self._directory, at + _LEASE_AT)[0]
        return number == lease.number and self._epochs.is_current(lease.epoch)

    def _end_lease(self, at: int) -> None:
        _LEASE.pack_into(self._directory, at + _LEASE_AT, 0, 0.0, 0)

    # -- ring --------------------------------------------------------------

    def _reserve(self, length: int) -> int | None:
        """Claim room for a body; its position counts all bytes ever reserved."""
        if length > self._size // _LARGEST_SHARE:
            return None
        self._locks.acquire(_RING_LOCK)
        try:
            position = self._head[0]
            left = self._size - position % self._size
            if left < length:
                position += left  # a body lies in one piece
            self._head[0] = position + length
        finally:
            self._locks.release(_RING_LOCK)
        return position

    def _open(
        self, tag: bytes, owner: Owner, epoch: int, record: _Record
    ) -> Page | None:
        """The page that a record points at, if it is the one that was put there."""
        position, length, made_at, fresh_until, servable_until, digest, *_ = record
        if self._head[0] - position > self._size:
            return None  # overwritten
        start = position % self._size
        body = self._ring[start : start + length]
        page = Page(body, made_at, fresh_until, servable_until)
        return page if self._digest(tag, owner, epoch, page) == digest else None

    def _digest(self, tag: bytes, owner: Owner, epoch: int, page: Page) -> bytes:
        hashed = self._hash_page.copy()
        hashed.update(tag)
        hashed.update(
            _SIGNED.pack(page.made_at, page.fresh_until, page.servable_until, epoch)
        )
        hashed.update(owner_bytes(owner))  # 8 or 32 bytes, the body follows
        hashed.update(page.body)
        return hashed.digest()


def _record_at(first: int, way: int) -> int:
    return first + _WAYS * _KEY_BYTES + way * _RECORD_BYTES


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
