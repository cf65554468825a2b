"""Owns the rate limits: GCRA time stamps in memory that all workers share.

Knows keys and numbers only. A bucket is one time stamp, so nothing is refilled by a
timer: GCRA, the "virtual scheduling" form of ITU-T I.371, is the exact token bucket.
"""

import mmap
import struct
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from ..mutex import Mutexes

__all__ = ["Bucket", "BucketTable", "ClockNs", "Decision", "RateLimiter"]

ClockNs = Callable[[], int]

_WAYS: Final = 8
_KEY_BYTES: Final = 16
_KEYS: Final = struct.Struct(f"{_KEY_BYTES}s" * _WAYS)
_STAMP_BYTES: Final = 8
_SET_BYTES: Final = _WAYS * (_KEY_BYTES + _STAMP_BYTES)
_KEY_PREFIX: Final = struct.Struct("=Q")
_LOCKS: Final = 256
_REMEMBERED_BUCKETS: Final = 16384
_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND


class Bucket:
    """One key's place in a table: its set, and the slot where it was seen last."""

    __slots__ = ("first_stamp", "key", "key_at", "lock", "number", "stamp_at")

    def __init__(self, key: bytes, number: int) -> None:
        self.key = key
        self.number = number
        self.lock = number % _LOCKS
        self.first_stamp = (number * _SET_BYTES + _WAYS * _KEY_BYTES) // _STAMP_BYTES
        self.point_at(0)

    def point_at(self, way: int) -> None:
        """Set the slot of its set that it is in."""
        self.key_at = self.number * _SET_BYTES + way * _KEY_BYTES
        self.stamp_at = self.first_stamp + way


class BucketTable:
    """A bounded table of time stamps, in memory that survives a fork as one.

    Make it before the fork: memory and locks are inherited. A key lives in one of
    the eight slots of its set. A new key takes the slot with the oldest stamp: an idle
    one if there is any, else that of the key nearest to idle, which loses least by
    being forgotten; a flood of new keys thus pushes out itself, not the exhausted key.
    The table never grows: 24 bytes a slot.

    A set is locked while a stamp of it moves, with one of 256 locks that a worker's
    death sets free.
    """

    def __init__(self, slots: int = 65536) -> None:
        """Reserve `slots` slots, rounded up to whole sets of eight."""
        self._sets = max(1, -(-slots // _WAYS))
        self._memory = mmap.mmap(-1, self._sets * _SET_BYTES)
        self._stamps = memoryview(self._memory).cast("q")
        self._locks = Mutexes(_LOCKS)

    def __len__(self) -> int:
        return self._sets * _WAYS

    def bucket(self, key: bytes) -> Bucket:
        """Where the stamp of `key` belongs; `key` is 16 uniformly distributed bytes."""
        return Bucket(key, _KEY_PREFIX.unpack_from(key)[0] % self._sets)

    def charge(self, bucket: Bucket, cost: int, ceiling: int, clock_ns: ClockNs) -> int:
        """Move a bucket's stamp on by `cost` ns, not past `ceiling` ns ahead of now.

        Returns how far ahead of now the stamp is after the charge; if that is more than
        `ceiling`, the charge was not made.
        """
        self._locks.acquire(bucket.lock)
        try:
            now = clock_ns()  # under the lock: a reading from before it may be old
            key_at = bucket.key_at
            seen = self._memory[key_at : key_at + _KEY_BYTES]
            known = seen == bucket.key or self._find(bucket)
            at = bucket.stamp_at
            ahead = max(self._stamps[at] - now, 0) + cost if known else cost
            if ahead <= ceiling:
                # The stamp goes first: killed between the two, a worker leaves the old
                # key charged for one call of the new one, and nothing worse.
                self._stamps[at] = now + ahead
                if not known:
                    self._memory[bucket.key_at : bucket.key_at + _KEY_BYTES] = (
                        bucket.key
                    )
        finally:
            self._locks.release(bucket.lock)
        return ahead

    def _find(self, bucket: Bucket) -> bool:
        """Point the bucket at its slot; False if that is another key's, to be taken."""
        keys = _KEYS.unpack_from(self._memory, bucket.number * _SET_BYTES)
        if bucket.key in keys:
            bucket.point_at(keys.index(bucket.key))
            return True
        first = bucket.first_stamp
        stamps = self._stamps[first : first + _WAYS].tolist()
        bucket.point_at(stamps.index(min(stamps)))
        return False


class Decision(NamedTuple):
    """The answer to one take; times in seconds."""

    allowed: bool
    limit: int
    """Takes that a full bucket holds."""
    remaining: int
    """Takes left now."""
    retry_after: float
    """Until a take will succeed; 0 if this one did."""
    reset_after: float
    """Until the bucket is full."""


class RateLimiter:
    """A token bucket per key: capacity `per_minute`, refilled `per_minute`/60 a second.

    >>> limiter = RateLimiter(BucketTable(), name="login", per_minute=2, secret=b"s")
    >>> [limiter.take("2023B1599999").allowed for _ in range(3)]
    [True, True, False]

    In any span of t seconds a key is allowed at most per_minute * (1 + t/60) takes, by
    all processes that share the table together. The time of a token is rounded up to
    whole nanoseconds, so that the rounding never favours the taker.

    Limiters of different `name` may share a table. Keys enter it only as hashes keyed
    with `secret` (1-64 bytes), which all workers must share; nobody without it can
    choose keys that fall into one set. Raises ValueError for a wrong `per_minute` or
    `secret`.
    """

    def __init__(
        self,
        table: BucketTable,
        *,
        name: str,
        per_minute: int,
        secret: bytes,
        clock_ns: ClockNs = time.monotonic_ns,
    ) -> None:
        if per_minute < 1:
            raise ValueError(f"per_minute must be at least 1, not {per_minute}")
        if not secret:
            raise ValueError("secret must not be empty")
        self._table = table
        self._limit = per_minute
        self._cost = -(-_MINUTE // per_minute)
        self._ceiling = self._cost * per_minute
        self._clock_ns = clock_ns
        self._hash = blake2b(name.encode() + b"\0", digest_size=_KEY_BYTES, key=secret)
        # To hash a key takes longer than to look it up; memory is bounded by the number
        self._bucket = lru_cache(_REMEMBERED_BUCKETS)(self._hashed)

    def take(self, key: bytes | str) -> Decision:
        """Take one token of `key` if there is one."""
        ahead = self._table.charge(
            self._bucket(key), self._cost, self._ceiling, self._clock_ns
        )
        spare = self._ceiling - ahead
        if spare < 0:
            until_full = (ahead - self._cost) / _SECOND
            return Decision(False, self._limit, 0, -spare / _SECOND, until_full)
        return Decision(True, self._limit, spare // self._cost, 0.0, ahead / _SECOND)

    def give_back(self, key: bytes | str) -> None:
        """Undo one successful take of `key`."""
        self._table.charge(
            self._bucket(key), -self._cost, self._ceiling, self._clock_ns
        )

    def _hashed(self, key: bytes | str) -> Bucket:
        if isinstance(key, str):
            # A user name out of JSON may hold a lone surrogate, and is a key even so.
            key = key.encode("utf-8", "surrogatepass")
        hashed = self._hash.copy()
        hashed.update(key)
        return self._table.bucket(hashed.digest())
