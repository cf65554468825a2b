"""How many calls a platform answers at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .faults import Endpoint, Faults

__all__ = ["Capacity"]


class Capacity:
    """Lets as many calls of an endpoint be answered at a time as its `capacity` says,
    in the order of their coming; without one all of them.
    """

    def __init__(self, faults: Faults) -> None:
        """Take the numbers from these knobs."""
        self._faults = faults
        self._semaphores: dict[tuple[Endpoint, int], asyncio.Semaphore] = {}

    @asynccontextmanager
    async def of(self, endpoint: Endpoint) -> AsyncIterator[None]:
        """Take a part of this endpoint's for as long as the block runs."""
        number = self._faults.capacity(endpoint)
        if number is None:
            yield
            return
        key = endpoint, number
        async with self._semaphores.setdefault(key, asyncio.Semaphore(number)):
            yield
