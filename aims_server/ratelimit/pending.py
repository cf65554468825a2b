"""Owns what is pending by key, and lets others wait for its ends."""

import asyncio
from collections import deque

__all__ = ["Pending"]


class _Key:
    __slots__ = ("count", "waiters")

    def __init__(self) -> None:
        self.count = 0
        self.waiters: deque[asyncio.Future[None]] = deque()


class Pending:
    """Requests that have taken a token and may give it back at their end. Each end
    wakes one waiter of the same key, the last one all of them.

    >>> pending = Pending()
    >>> pending.begin("192.0.2.1")
    >>> asyncio.run(pending.ended("192.0.2.1", seconds=0.01))
    False
    >>> pending.end("192.0.2.1")

    One that has ended is forgotten: memory is bounded by what is pending.
    """

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}

    def begin(self, key: str) -> None:
        """Count one more as pending."""
        self._keys.setdefault(key, _Key()).count += 1

    def end(self, key: str) -> None:
        """Count one less; it must have begun."""
        of = self._keys[key]
        of.count -= 1
        if not of.count:
            del self._keys[key]
        waking = 1 if of.count else len(of.waiters)
        while waking and of.waiters:
            waiter = of.waiters.popleft()
            if not waiter.done():  # not of one who has left
                waiter.set_result(None)
                waking -= 1

    async def ended(self, key: str, seconds: float) -> bool:
        """Wait for an end; False if nothing is pending, or after so many seconds."""
        of = self._keys.get(key)
        if of is None:
            return False
        waiter = asyncio.get_running_loop().create_future()
        of.waiters.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=seconds)
            return waiter.done()
        finally:
            waiter.cancel()
