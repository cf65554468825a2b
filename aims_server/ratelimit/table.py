"""Owns the buckets of the rate limits: time stamps in memory that all workers share."""

import mmap
import struct
import time
from collections.abc import Callable
from typing import Final

from ..primitives import Mutex, mutexes

__all__ = ["KEY_BYTES", "Bucket", "BucketTable"]

_WAYS: Final = 8
KEY_BYTES: Final = 8
_KEYS: Final = struct.Struct(f"{KEY_BYTES}s" * _WAYS)
_STAMP_BYTES: Final = 8
_SET_BYTES: Final = _WAYS * (KEY_BYTES + _STAMP_BYTES)
_KEY_PREFIX: Final = struct.Struct("=Q")
_LOCKS: Final = 256


class Bucket:
    """One key's place in a table: its set, and the slot where it was seen last."""

    __slots__ = ("first_stamp", "key", "key_at", "lock", "number", "stamp_at")

    def __init__(self, key: bytes, number: int, lock: Mutex) -> None:
        self.key = key
        self.number = number
        self.lock = lock
        self.first_stamp = (number * _SET_BYTES + _WAYS * KEY_BYTES) // _STAMP_BYTES
        self.point_at(0)

    def point_at(self, way: int) -> None:
        """Set the slot of its set that it is in."""
        self.key_at = self.number * _SET_BYTES + way * KEY_BYTES
        self.stamp_at = self.first_stamp + way


class BucketTable:
    """A bounded table of time stamps, in memory that survives a fork as one.

    >>> table = BucketTable(8, clock_ns=lambda: 0)
    >>> bucket = table.bucket(bytes(8))
    >>> [table.charge(bucket, 60, ceiling=100) for _ in range(2)]
    [60, 120]

    Make it before the fork: memory and locks are inherited. A key has one of the eight
    slots of its set. A new key takes the slot with the oldest stamp: an idle one, or
    else that of the key nearest to idle, which loses least by being forgotten. So a
    flood of new keys displaces itself and not an exhausted key. The table never grows:
    16 bytes a slot, all of which are soon in use. A bucket is idle once it is full
    again, after a minute at most, or longer with a debt of `raise_to`.

    A set is locked while one of its stamps moves, with one of 256 locks that a worker's
    death releases. ``clock_ns`` gives nanoseconds, monotonic and the same in every
    process.
    """

    def __init__(
        self, slots: int = 16384, *, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Reserve `slots` slots, rounded up to whole sets of eight."""
        self._clock_ns = clock_ns
        self._sets = max(1, -(-slots // _WAYS))
        self._memory = mmap.mmap(-1, self._sets * _SET_BYTES)
        self._stamps = memoryview(self._memory).cast("q")
        self._locks = mutexes(_LOCKS)

    def bucket(self, key: bytes) -> Bucket:
        """The bucket of a `key` of 8 uniformly distributed bytes."""
        number = _KEY_PREFIX.unpack_from(key)[0] % self._sets
        return Bucket(key, number, self._locks[number % _LOCKS])

    def charge(self, bucket: Bucket, cost: int, ceiling: int) -> int:
        """Move a bucket's stamp on by `cost` ns, but not beyond `ceiling` ns from now.

        Returns how far ahead of now the stamp would be after the charge; if that is
        more than `ceiling`, the charge was not made.
        """
        with bucket.lock:
            now = self._clock_ns()  # under the lock: one from before may be old
            key_at = bucket.key_at
            seen = self._memory[key_at : key_at + KEY_BYTES]
            known = seen == bucket.key or self._find(bucket)
            at = bucket.stamp_at
            ahead = max(self._stamps[at] - now, 0) + cost if known else cost
            if ahead <= ceiling:
                # The stamp first: a worker killed between the two leaves the old key
                # charged for one call of the new one, and nothing worse.
                self._stamps[at] = now + ahead
                if not known:
                    self._memory[bucket.key_at : bucket.key_at + KEY_BYTES] = bucket.key
        return ahead

    def give_back(self, bucket: Bucket, cost: int) -> int:
        """Move a bucket's stamp back by `cost` ns, unless it was forgotten. Returns how
        far ahead of now it is then.
        """
        with bucket.lock:
            if not self._find(bucket):
                return 0
            self._stamps[bucket.stamp_at] -= cost
            return self._stamps[bucket.stamp_at] - self._clock_ns()

    def raise_to(self, bucket: Bucket, ahead: int) -> None:
        """Move a bucket's stamp to `ahead` ns from now, unless it is further ahead."""
        with bucket.lock:
            if self._find(bucket):
                stamp = self._clock_ns() + ahead
                if self._stamps[bucket.stamp_at] < stamp:
                    self._stamps[bucket.stamp_at] = stamp

    def _find(self, bucket: Bucket) -> bool:
        """Point the bucket at its slot; False if the slot is another key's."""
        keys = _KEYS.unpack_from(self._memory, bucket.number * _SET_BYTES)
        if bucket.key in keys:
            bucket.point_at(keys.index(bucket.key))
            return True
        first = bucket.first_stamp
        stamps = self._stamps[first : first + _WAYS].tolist()
        bucket.point_at(stamps.index(min(stamps)))
        return False
