"""Owns the renewal of leases in the store. Leases are short, so that those of a dead
machine end soon; renewed, they last until a slow page is there.
"""

import asyncio
from typing import Any, Final

from ..primitives import watched_task
from .client import StoreClient, StoreUnavailable

__all__ = ["Renewals"]

_LONGEST_SECONDS: Final = 600.0  # the most that GATHER_TIMEOUT_SECONDS may be


class Renewals:
    """The leases that this worker holds. Each is renewed after half of its time, and
    after three quarters if that failed, until it is ended here or another machine has
    it.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        # First a timer: most pages are there before it fires.
        self._held: dict[int, asyncio.TimerHandle | asyncio.Task[None]] = {}

    def begin(self, number: int, seconds: float, *renew: Any) -> None:
        """Renew the lease of this number, which lasts ``seconds``, by the command
        ``renew``, whose answer is 1 while the lease is held.
        """
        loop = asyncio.get_running_loop()
        half = seconds / 2
        self._held[number] = loop.call_later(half, self._start, number, half, renew)

    def end(self, number: int) -> None:
        """Stop renewing this lease."""
        held = self._held.pop(number, None)
        if held is not None:
            held.cancel()

    def _start(self, number: int, pause: float, renew: tuple[Any, ...]) -> None:
        self._held[number] = watched_task(self._renew(number, pause, renew))

    async def _renew(self, number: int, pause: float, renew: tuple[Any, ...]) -> None:
        for _ in range(int(_LONGEST_SECONDS / pause)):
            try:
                if await self._client.call(*renew) != 1:
                    break
            except StoreUnavailable:
                await asyncio.sleep(pause / 2)  # what fails once comes in time yet
            else:
                await asyncio.sleep(pause)
        self._held.pop(number, None)
