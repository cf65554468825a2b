"""What is sent at the end of a turn of the event loop, all of it together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["WriteBatch"]

_MOST_AT_ONCE: Final = 64  # at some 10 us each: the loop has more to do


class WriteBatch:
    """Answers on their way out.

    Each wakes its client. Sent one by one they would have client and server take turns
    at the CPU, which took a fifth of the time of a kept page under load.
    """

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """``soon`` has a function called before the loop looks for events again."""
        self._soon = soon
        self._waiting: list[tuple[asyncio.Transport, Sequence[bytes]]] = []

    def post(self, transport: asyncio.Transport, parts: Sequence[bytes]) -> None:
        """Send these in a moment."""
        if not self._waiting:
            self._soon(self.send)
        self._waiting.append((transport, parts))
        if len(self._waiting) >= _MOST_AT_ONCE:
            self.send()

    def send(self) -> None:
        """Send all that waits."""
        waiting, self._waiting = self._waiting, []
        for transport, parts in waiting:
            if not transport.is_closing():
                transport.writelines(parts)
