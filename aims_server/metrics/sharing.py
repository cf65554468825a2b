"""Owns the figures of what workers and machines share: pages, leases, the store."""

from typing import Final

from . import labels
from .instruments import Instruments

__all__ = ["SharingMetrics"]

_WAIT_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1)


class SharingMetrics:
    """One worker's share of these figures."""

    def __init__(self, make: Instruments, worker: str) -> None:
        self._lookups = make.counters(
            "shared_lookups_total",
            "Look-ups beyond a worker's own memory, by what was found.",
            {"level": labels.LEVELS, "found": labels.FOUND},
        )
        self._waits = make.histograms(
            "shared_wait_seconds",
            "Time for which a page was waited for that another process gathers.",
            _WAIT_BUCKETS,
        )
        self._leases = make.counters(
            "leases_total",
            "Leases to gather a page, by how they ended.",
            {"level": labels.LEVELS, "end": labels.LEASE_ENDS},
        )
        self._bytes = make.counters(
            "shared_bytes_total",
            "Bytes of pages put where others find them.",
            {"level": labels.LEVELS},
        )

    def shared_lookup(self, level: str, found: str) -> None:
        """A page was looked for on this level."""
        self._lookups.labels(level, found).inc()

    def shared_wait(self, seconds: float) -> None:
        """A page that another process gathers was waited for."""
        self._waits.labels().observe(seconds)

    def lease_ended(self, level: str, end: str, size: int) -> None:
        """A lease of this level ended, with so many bytes put."""
        self._leases.labels(level, end).inc()
        if size:
            self._bytes.labels(level).inc(size)
