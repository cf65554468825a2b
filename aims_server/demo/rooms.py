"""The places of a platform that answers a few calls at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .faults import Endpoint, Faults

__all__ = ["Rooms"]


class Rooms:
    """Places to be answered in, as many as an endpoint's `room` says, first come first
    served; without one there is a place for everybody.
    """

    def __init__(self, faults: Faults) -> None:
        """Take the number of places from these knobs."""
        self._faults = faults
        self._places: dict[tuple[Endpoint, int], asyncio.Semaphore] = {}

    @asynccontextmanager
    async def place(self, endpoint: Endpoint) -> AsyncIterator[None]:
        """Hold a place of this endpoint for as long as the block runs."""
        room = self._faults.room(endpoint)
        if room is None:
            yield
            return
        places = self._places.setdefault((endpoint, room), asyncio.Semaphore(room))
        async with places:
            yield
