"""Owns the metrics of sharing: pages, leases, the store."""

from typing import Final

from . import labels
from .instruments import Instruments

__all__ = ["SharingMetrics"]

_WAIT_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1)


class SharingMetrics:
    """One worker's part of these metrics."""

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
        self._calls = make.counters(
            "store_calls_total",
            "Calls to the store.",
            {"outcome": labels.STORE_OUTCOMES},
        )
        self._call_durations = make.histograms(
            "store_call_seconds", "Time of one call to the store.", _CALL_BUCKETS
        )
        self._state = make.gauge(
            "store_state",
            "Whether the store is used: 0 yes, or there is none, 1 being tried, 2 no.",
            worker=worker,
        )
        self._unopened = make.counters(
            "store_unopened_total",
            "Entries of the store that were not sealed by us for where they stood.",
        )
        self._drops = make.counters(
            "drops_total",
            "Refused tokens whose pages were voided on every machine.",
            {"from": labels.DROP_SOURCES},
        )
        self._drops_waiting = make.gauge(
            "drops_waiting", "Refused tokens that the store could not be told of yet."
        )
        self._synced = make.counters(
            "limits_synced_keys_total",
            "Limits that were added up with those of other machines.",
        )

    def shared_lookup(self, level: str, found: str) -> None:
        """A page was looked for on this level."""
        self._lookups.labels(level, found).inc()

    def shared_wait(self, seconds: float) -> None:
        """An asker has waited so long for a page that another process gathers."""
        self._waits.labels().observe(seconds)

    def lease_ended(self, level: str, end: str) -> None:
        """A lease of this level ended."""
        self._leases.labels(level, end).inc()

    def page_put(self, level: str, size: int) -> None:
        """A page of so many bytes was put there."""
        self._bytes.labels(level).inc(size)

    def store_called(self, outcome: str, seconds: float) -> None:
        """A call to the store ended: ok, timeout, error or refused."""
        self._calls.labels(outcome).inc()
        self._call_durations.labels().observe(seconds)

    def store_changed(self, state: str) -> None:
        """The circuit to the store is "closed", "half-open" or "open" from now on."""
        self._state.set(labels.BREAKER_STATES.index(state))

    def store_unopened(self) -> None:
        """An entry of the store could not be opened with our secret."""
        self._unopened.labels().inc()

    def dropped(self, source: str) -> None:
        """A token was refused here or elsewhere."""
        self._drops.labels(source).inc()

    def drops_waiting(self, number: int) -> None:
        """So many refusals have not been sent to the store yet."""
        self._drops_waiting.set(number)

    def limits_synced(self, keys: int) -> None:
        """So many limits were summed over the machines."""
        self._synced.labels().inc(keys)
