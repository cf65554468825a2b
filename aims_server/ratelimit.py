"""Owns the rate limits: GCRA time stamps in memory that all workers share.

Knows keys and numbers only. A bucket is one time stamp, so nothing is refilled by a
timer: GCRA, the "virtual scheduling" form of ITU-T I.371, is the exact token bucket.
"""

import fcntl
import mmap
import os
import struct
import time
import weakref
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

__all__ = ["BucketTable", "ClockNs", "Decision", "RateLimiter"]

ClockNs = Callable[[], int]

_WAYS: Final = 8
_KEY_BYTES: Final = 16
_SET: Final = struct.Struct("=" + f"{_KEY_BYTES}s" * _WAYS + f"{_WAYS}q")
_STAMP: Final = struct.Struct("=q")
_KEY_PREFIX: Final = struct.Struct("=Q")
_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND


class BucketTable:
    """A bounded table of time stamps, in memory that survives a fork as one.

    Make it before the fork: memory and lock file are inherited. A key lives in one of
    the eight slots of its set. A new key takes the slot with the oldest stamp: an idle
    one if there is any, else that of the key nearest to idle, which loses least by
    being forgotten; a flood of new keys thus pushes out itself, not the exhausted key.
    The table never grows: 24 bytes a slot.

    The lock is a POSIX record lock on one byte per set. The kernel drops it when its
    owner dies, even by SIGKILL, whereas a semaphore would stay taken for ever. Such a
    lock belongs to a process: it excludes other workers but not another thread of the
    same one, so a worker must charge from one thread only, the event loop's.
    """

    def __init__(self, slots: int = 65536) -> None:
        """Reserve `slots` slots, rounded up to whole sets of eight."""
        self._sets = max(1, -(-slots // _WAYS))
        self._memory = mmap.mmap(-1, self._sets * _SET.size)
        self._lock_file = os.memfd_create("rate-limits")
        weakref.finalize(self, os.close, self._lock_file)

    def __len__(self) -> int:
        return self._sets * _WAYS

    def charge(self, key: bytes, cost: int, ceiling: int, clock_ns: ClockNs) -> int:
        """Move the stamp of `key` on by `cost` ns, not past `ceiling` ns ahead of now.

        Returns how far ahead of now the stamp is after the charge; if that is more than
        `ceiling`, the charge was not made. `key` is 16 uniformly distributed bytes.
        """
        number = _KEY_PREFIX.unpack_from(key)[0] % self._sets
        start = number * _SET.size
        fcntl.lockf(self._lock_file, fcntl.LOCK_EX, 1, number)
        try:
            now = clock_ns()  # under the lock: a reading from before it may be old
            row = _SET.unpack_from(self._memory, start)
            stamps = row[_WAYS:]
            known = key in row
            if known:
                way = row.index(key)
                ahead = max(stamps[way] - now, 0) + cost
            else:
                way = stamps.index(min(stamps))
                ahead = cost
            if ahead <= ceiling:
                # The stamp goes first: killed between the two, a worker leaves the old
                # key charged for one call of the new one, and nothing worse.
                at = start + _WAYS * _KEY_BYTES + way * _STAMP.size
                _STAMP.pack_into(self._memory, at, now + ahead)
                if not known:
                    at = start + way * _KEY_BYTES
                    self._memory[at : at + _KEY_BYTES] = key
        finally:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, number)
        return int(ahead)


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

    def take(self, key: bytes | str) -> Decision:
        """Take one token of `key` if there is one."""
        ahead = self._table.charge(
            self._hashed(key), self._cost, self._ceiling, self._clock_ns
        )
        spare = self._ceiling - ahead
        if spare < 0:
            until_full = (ahead - self._cost) / _SECOND
            return Decision(False, self._limit, 0, -spare / _SECOND, until_full)
        return Decision(True, self._limit, spare // self._cost, 0.0, ahead / _SECOND)

    def give_back(self, key: bytes | str) -> None:
        """Undo one successful take of `key`."""
        self._table.charge(
            self._hashed(key), -self._cost, self._ceiling, self._clock_ns
        )

    def _hashed(self, key: bytes | str) -> bytes:
        if isinstance(key, str):
            # A user name out of JSON may hold a lone surrogate, and is a key even so.
            key = key.encode("utf-8", "surrogatepass")
        hashed = self._hash.copy()
        hashed.update(key)
        return hashed.digest()
