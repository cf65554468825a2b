"""Logs what the service does to protect itself: limits, circuits, a full cache, a queue
for the platform. Of each kind the first is logged with its numbers, then a count each
minute.
"""

import logging
from collections.abc import Mapping
from typing import Final

from .rate_limited import RateLimitedLog

__all__ = ["IncidentLog"]

# What a state of the circuit to an endpoint means for students.
_CIRCUITS: Final = {
    "open": "it is not called; what is kept is served, all else refused with 503",
    "half-open": "single calls find out whether it is well",
    "closed": "it is called again",
}


class IncidentLog:
    """Logs incidents to ``log``; ``limits`` gives the setting of each kind of limit.

    >>> import sys
    >>> logger = logging.Logger("doctest")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> limits = {"login": "LOGIN_LIMIT_PER_MINUTE=10"}
    >>> IncidentLog(RateLimitedLog(logger), limits).limited(
    ...     "login", "192.0.2.1", "9f86d081")
    A request from 192.0.2.1 was refused by LOGIN_LIMIT_PER_MINUTE=10
    """

    def __init__(self, log: RateLimitedLog, limits: Mapping[str, str]) -> None:
        self._log = log
        self._limits = limits
        self._evictions = 0

    def limited(self, kind: str, address: str, request_id: str) -> None:
        """The limit named ``kind`` refused a request."""
        self._log.event(
            ("limited", kind),
            logging.WARNING,
            f"A request from {address} was refused by {self._limits[kind]}",
            limit=kind,
            address=address,
            requestId=request_id,  # the fast path refuses outside a request's context
        )

    def connection_refused(
        self, address: str, *, connections: int, places: int, each: int
    ) -> None:
        """A worker with so many ``connections`` refused one more: it has ``places`` for
        all of them, and ``each`` for one address.
        """
        full = connections >= places
        why = (
            f"all {places} that a worker has files for are open"
            if full
            else f"its address has {each} to this worker (CONNECTIONS_PER_ADDRESS)"
        )
        self._log.event(
            ("connections", full),
            logging.WARNING,
            f"A connection from {address} was refused: {why}",
            limit="connections",
            address=address,
        )

    def circuit_changed(self, endpoint: str, state: str) -> None:
        """The circuit to an endpoint of the platform has changed to this state."""
        level = logging.INFO if state == "closed" else logging.WARNING
        self._log.event(
            ("circuit", endpoint, state),
            level,
            f"The circuit to the platform's {endpoint} is {state}: {_CIRCUITS[state]}",
            endpoint=endpoint,
            state=state,
        )

    def overloaded(self, seconds: float) -> None:
        """A request's calls to the platform are not made, since they would end too
        late; those that ended took ``seconds``. It is refused, or gets what is kept.
        """
        self._log.event(
            "overloaded",
            logging.WARNING,
            "A request's calls were not made (overloaded): they would be too late;"
            f" calls that ended lately took {seconds:.1f} s"
            " (REQUEST_TIMEOUT_SECONDS, MAX_CONCURRENT_REQUESTS)",
        )

    def sampled(
        self, *, evictions: int, entries: int, bytes: int, waiting: int, calls: int
    ) -> None:
        """The present figures; ``evictions`` are those since the start."""
        evicted, self._evictions = evictions - self._evictions, evictions
        if evicted > 0:
            self._log.event(
                "evictions",
                # No warning: an evicted answer is gathered again when needed.
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
