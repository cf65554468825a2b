"""Counts the platform's calls by endpoint, and how many are in flight."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

__all__ = ["Counters"]


class Counters:
    """Counts of calls by endpoint, in flight now and at most, and connections.

    A call is in flight from its arrival until its answer is handed to the socket or
    its caller has gone.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.calls: Counter[str] = Counter()
        self.now: Counter[str] = Counter()
        self.peak = 0
        self.connections = 0
        self.query_tokens = 0
        """Calls that carried their token in the URL."""

        self._watchers: list[tuple[Callable[[Counters], bool], asyncio.Event]] = []

    @property
    def total(self) -> int:
        """Calls so far."""
        return self.calls.total()

    @property
    def in_flight(self) -> int:
        """Calls being answered now."""
        return self.now.total()

    def enter(self, endpoint: str) -> None:
        """Count a call that arrived."""
        self.calls[endpoint] += 1
        self.now[endpoint] += 1
        self.peak = max(self.peak, self.in_flight)
        self._notify()

    def leave(self, endpoint: str) -> None:
        """Count a call out again."""
        self.now[endpoint] -= 1
        self._notify()

    def reset(self) -> None:
        """Forget the past; what is in flight stays counted."""
        self.calls.clear()
        self.peak = self.in_flight
        self.connections = self.query_tokens = 0

    async def until(self, seen: Callable[["Counters"], bool]) -> None:
        """Wait until `seen` holds of these counters; put a time-out round it."""
        event = asyncio.Event()
        watcher = (seen, event)
        self._watchers.append(watcher)
        self._notify()
        try:
            await event.wait()
        finally:
            self._watchers.remove(watcher)

    def as_dict(self) -> dict[str, Any]:
        """Return the counters in the form of the control endpoint."""
        return {
            "calls": dict(self.calls),
            "now": dict(+self.now),
            "total": self.total,
            "inFlight": self.in_flight,
            "peak": self.peak,
            "connections": self.connections,
            "queryTokens": self.query_tokens,
        }

    def _notify(self) -> None:
        for seen, event in self._watchers:
            if seen(self):
                event.set()
