"""Owns the limits that hold for all machines together: the login limit is asked at
once, since a login takes long anyway; the others are summed four times a second.
"""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from ..primitives import watched_task
from ..ratelimit import Decision, RateLimiter
from .client import StoreClient, StoreObserver, StoreUnavailable
from .connection import end
from .scripts import RAISE_LIMITS, TAKE_TOKEN
from .sealing import Secrets

__all__ = ["SharedLimits"]

# With it four machines of 100 a minute admit 183 to 200 requests in the minute in which
# one machine may admit 199; with a tick of a second up to 252, unshared 300 to 796.
_TICK_SECONDS: Final = 0.25
_MOST_KEYS: Final = 512
_TICKS_TO_TELL_ALL: Final = 240  # a minute, in which every bucket fills
_MOST_DEBT: Final = 2  # in buckets
_NS_PER_US: Final = 1000


class SharedLimits:
    """Keeps this machine's limiters in step with the other machines'.

    While the store fails each machine limits for itself. Make it inside the event loop.
    """

    def __init__(
        self, client: StoreClient, secrets: Secrets, observer: StoreObserver
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._observer = observer
        self._task: asyncio.Task[None] | None = None

    async def ask(self, limiter: RateLimiter, key: str) -> Decision | None:
        """Take one token of ``key`` on all machines if there is one; None if the store
        does not answer. The caller asks this machine's limiter itself.
        """
        try:
            ahead = await self._client.call(
                "EVAL",
                TAKE_TOKEN,
                1,
                self._secrets.limit_key(limiter.hashed(key)),
                limiter.cost // _NS_PER_US,
                limiter.ceiling // _NS_PER_US,
            )
        except StoreUnavailable:
            return None
        if not isinstance(ahead, int):
            return None
        return limiter.decide(ahead * _NS_PER_US)

    def start(self, limiters: Sequence[RateLimiter]) -> None:
        """Begin to sum the charges of these limiters, made with ``shared``."""
        self._task = watched_task(self._sync_for_ever(limiters))

    async def close(self) -> None:
        """Stop the sums."""
        if self._task is not None:
            await end(self._task)

    async def sync(self, limiters: Sequence[RateLimiter]) -> None:
        """Send each limiter's charges that are due, and take over the sums."""
        await asyncio.gather(*map(self._sync_one, limiters))

    async def _sync_for_ever(self, limiters: Sequence[RateLimiter]) -> None:
        for tick in count(1):
            await asyncio.sleep(_TICK_SECONDS)
            if tick % _TICKS_TO_TELL_ALL == 0:
                for limiter in limiters:
                    if limiter.charges is not None:
                        limiter.charges.make_all_due()
            await self.sync(limiters)

    async def _sync_one(self, limiter: RateLimiter) -> None:
        charges = limiter.charges
        if charges is None or not (due := charges.collect(_MOST_KEYS)):
            return
        keys = [self._secrets.limit_key(hashed) for hashed in due]
        full = limiter.ceiling // _NS_PER_US
        furthest = _MOST_DEBT * full
        numbers: list[Any] = []
        for charge in due.values():
            numbers += (charge // _NS_PER_US, full, furthest)
        try:
            answers = await self._client.call(
                "EVAL", RAISE_LIMITS, len(keys), *keys, *numbers
            )
        except StoreUnavailable:
            return  # each machine judges by itself
        if not isinstance(answers, list) or len(answers) != len(due):
            return
        for hashed, ahead in zip(due, answers, strict=True):
            if isinstance(ahead, int):
                # Bounded as our script does it: a store may answer any number.
                limiter.raise_to(hashed, min(ahead, furthest) * _NS_PER_US)
        self._observer.limits_synced(len(due))
