"""Lines on what the service does to protect itself: limits, circuits, a full cache, a
line before the platform. Each says what with its numbers, once, then a count a minute.
"""

import logging
from typing import Final

from .rate_limited import RateLimitedLog

__all__ = ["IncidentLog"]

_LIMITS: Final = {
    "student": "RATE_LIMIT_PER_MINUTE",
    "address": "RATE_LIMIT_PER_ADDRESS_PER_MINUTE",
    "login": "LOGIN_LIMIT_PER_MINUTE",
    "login-failures": "LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE",
    "connections": "the limit of connections",
}


class IncidentLog:
    """Tells of incidents through ``log``.

    >>> import sys
    >>> logger = logging.Logger("doctest")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> IncidentLog(RateLimitedLog(logger)).limited("login", "192.0.2.1")
    A request was refused by LOGIN_LIMIT_PER_MINUTE
    """

    def __init__(self, log: RateLimitedLog) -> None:
        self._log = log
        self._evictions = 0

    def limited(self, kind: str, address: str | None = None) -> None:
        """The limit named ``kind`` refused a request, or a connection."""
        what = "A connection" if kind == "connections" else "A request"
        self._log.event(
            ("limited", kind),
            logging.WARNING,
            f"{what} was refused by {_LIMITS.get(kind, kind)}",
            limit=kind,
            **({} if address is None else {"address": address}),
        )

    def circuit_changed(self, endpoint: str, state: str) -> None:
        """The circuit to an endpoint of the platform is in this state from now on."""
        level = logging.INFO if state == "closed" else logging.WARNING
        meaning = {
            "open": "no calls are made",
            "half-open": "single calls probe the platform",
            "closed": "calls are made again",
        }
        self._log.event(
            ("circuit", endpoint, state),
            level,
            f"The circuit to the platform's {endpoint} is {state}:"
            f" {meaning.get(state, state)}",
            endpoint=endpoint,
            state=state,
        )

    def sampled(
        self, *, evictions: int, entries: int, bytes: int, waiting: int, calls: int
    ) -> None:
        """How things stand; ``evictions`` are all since the start."""
        evicted, self._evictions = evictions - self._evictions, evictions
        if evicted > 0:
            self._log.event(
                "evictions",
                # No warning: what leaves is gathered again when it is asked for.
                logging.INFO,
                f"The cache is full: {evicted} answers left for others within a second"
                f" (CACHE_MAX_MB; {entries} kept in {bytes / 2**20:.1f} MB)",
            )
        if waiting:
            self._log.event(
                "waiting",
                logging.WARNING,
                f"All {calls} calls to the platform that may be made are under way, and"
                f" {waiting} wait (MAX_CONCURRENT_REQUESTS)",
            )
