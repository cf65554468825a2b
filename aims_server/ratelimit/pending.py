"""Counts pending requests by key, and lets others wait until one of them ends."""

import asyncio
from collections import deque

__all__ = ["Pending"]


class _Requests:
    """The pending requests of one key, and who waits for them."""

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

    A key with nothing pending takes no memory.
    """

    def __init__(self) -> None:
        self._keys: dict[str, _Requests] = {}

    def begin(self, key: str) -> None:
        """Count one more as pending."""
        self._keys.setdefault(key, _Requests()).count += 1

    def end(self, key: str) -> None:
        """Count one less; raises KeyError if none is pending."""
        requests = self._keys[key]
        requests.count -= 1
        if not requests.count:
            del self._keys[key]
        waking = 1 if requests.count else len(requests.waiters)
        while waking and requests.waiters:
            waiter = requests.waiters.popleft()
            if not waiter.done():  # not of one who has left
                waiter.set_result(None)
                waking -= 1

    async def ended(self, key: str, seconds: float) -> bool:
        """Wait until one ends; False if none is pending or none ends in ``seconds``."""
        requests = self._keys.get(key)
        if requests is None:
            return False
        waiter = asyncio.get_running_loop().create_future()
        requests.waiters.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=seconds)
            return waiter.done()
        finally:
            waiter.cancel()
