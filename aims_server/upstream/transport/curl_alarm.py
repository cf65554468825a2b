"""Owns the moment at which curl wants to be called; uses as few timers as possible."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

__all__ = ["CurlAlarm"]

_EARLY_SECONDS: Final = 0.001  # curl and uvloop count in milliseconds


class CurlAlarm:
    """Calls ``on_time`` at the moment set last.

    >>> async def example():
    ...     called = asyncio.Event()
    ...     alarm = CurlAlarm(asyncio.get_running_loop(), called.set)
    ...     alarm.set(60_000)
    ...     alarm.set(1)
    ...     return await called.wait()
    >>> asyncio.run(example())
    True

    Curl sets a moment about twice a call, each time a later one. So no new timer is
    made for a later moment: when the old timer fires, it is set to the latest moment.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_time: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._on_time = on_time
        self._at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, milliseconds: int) -> None:
        """Call ``on_time`` in so many milliseconds; never, if it is -1."""
        if milliseconds < 0:
            self._at = inf
            return
        self._at = self._loop.time() + milliseconds / 1000
        if self._timer is not None and self._timer_at > self._at:
            self.cancel()
        if self._timer is None:
            self._start()

    def cancel(self) -> None:
        """Cancel the timer and set no more, so that none refers to ``on_time``."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop.time() + _EARLY_SECONDS >= self._at:
            self._on_time()
        elif self._at < inf:
            self._start()
