"""Owns the rate limits: token buckets by GCRA, the "virtual scheduling" form of ITU-T
I.371. Knows only keys and numbers; a bucket is one time stamp, and no timer refills it.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from .charges import Charges
from .table import KEY_BYTES, Bucket, BucketTable

__all__ = ["Decision", "RateLimiter"]

_REMEMBERED_BUCKETS: Final = 256  # 350 bytes each, and 1.5 us to hash a key anew
_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The result of one take; times in seconds."""

    allowed: bool
    limit: int
    """The takes of a full bucket."""
    remaining: int
    """The takes left now."""
    retry_after: float
    """The time until a take will succeed; 0 if this one did."""
    reset_after: float
    """The time until the bucket is full."""


class RateLimiter:
    """A token bucket per key: capacity `per_minute`, refilled `per_minute`/60 a second.

    >>> limiter = RateLimiter(BucketTable(), name="login", per_minute=2, secret=b"s")
    >>> [limiter.take("2023B1599999").allowed for _ in range(3)]
    [True, True, False]

    In any span of t seconds all processes that share the table together allow a key at
    most per_minute * (1 + t/60) takes. The time of a token is rounded up to whole
    nanoseconds, so that the rounding never favours the taker.

    Limiters with different `name` may share a table. It has keys only as hashes keyed
    with `secret` (1-64 bytes), which all workers must share; nobody without it can
    choose keys that fall into one set. Raises ValueError for a wrong `per_minute` or
    `secret`.

    With `shared`, charges are noted in `charges`, to be summed over machines.
    """

    def __init__(
        self,
        table: BucketTable,
        *,
        name: str,
        per_minute: int,
        secret: bytes,
        shared: bool = False,
    ) -> None:
        if per_minute < 1:
            raise ValueError(f"per_minute must be at least 1, not {per_minute}")
        if not secret:
            raise ValueError("secret must not be empty")
        self.name = name
        self._table = table
        self._limit = per_minute
        self.cost = -(-_MINUTE // per_minute)
        """Nanoseconds that a token takes to come back."""

        self.ceiling = self.cost * per_minute
        """Nanoseconds that an empty bucket takes to fill."""

        self.charges = Charges(self.ceiling) if shared else None
        self._hash = blake2b(name.encode() + b"\0", digest_size=KEY_BYTES, key=secret)
        # Hashing a key takes longer than looking it up.
        self._bucket = lru_cache(_REMEMBERED_BUCKETS)(self._hashed)

    def take(self, key: bytes | str) -> Decision:
        """Take one token of `key` if there is one."""
        return self.decide(self._charge(key))

    def try_take(self, key: bytes | str) -> bool:
        """Take one token of `key`; return whether there was one."""
        return self._charge(key) <= self.ceiling

    def give_back(self, key: bytes | str) -> None:
        """Undo one successful take of `key`, also if the bucket has a debt since."""
        bucket = self._bucket(key)
        ahead = self._table.give_back(bucket, self.cost)
        if self.charges is not None:
            self.charges.note(bucket.key, -self.cost, ahead)

    def decide(self, ahead: int) -> Decision:
        """The decision on a take after which the bucket's stamp is so many ns ahead."""
        spare = self.ceiling - ahead
        if spare < 0:
            until_full = (ahead - self.cost) / _SECOND
            return Decision(False, self._limit, 0, -spare / _SECOND, until_full)
        return Decision(True, self._limit, spare // self.cost, 0.0, ahead / _SECOND)

    def raise_to(self, hashed: bytes, ahead: int) -> None:
        """Take over the charges of all machines to the bucket of a `hashed` key: move
        its stamp to at least so many ns ahead of now. Beyond an empty bucket that is a
        debt: what machines let pass between two sums is paid back before more passes.
        """
        self._table.raise_to(self._table.bucket(hashed), ahead)

    def hashed(self, key: bytes | str) -> bytes:
        """The hash of `key` in 8 bytes, the same everywhere."""
        return self._bucket(key).key

    def _charge(self, key: bytes | str) -> int:
        bucket = self._bucket(key)
        ahead = self._table.charge(bucket, self.cost, self.ceiling)
        charges = self.charges
        if charges is not None and ahead <= self.ceiling:
            charges.note(bucket.key, self.cost, ahead)
        return ahead

    def _hashed(self, key: bytes | str) -> Bucket:
        if isinstance(key, str):
            # A user name from JSON may have a lone surrogate, and is a key even so.
            key = key.encode("utf-8", "surrogatepass")
        hashed = self._hash.copy()
        hashed.update(key)
        return self._table.bucket(hashed.digest())
