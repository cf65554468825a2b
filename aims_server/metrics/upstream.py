"""Owns the metrics of calls to the platform: outcomes, retries, hedges, oddities."""

from typing import Final

from . import labels
from .instruments import Instruments

__all__ = ["UpstreamMetrics"]

_CALL_BUCKETS: Final = (0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 2, 5, 10)


class UpstreamMetrics:
    """One worker's part of these metrics."""

    def __init__(self, make: Instruments, worker: str) -> None:
        self._calls = make.counters(
            "upstream_calls_total",
            "Calls to the platform.",
            {"endpoint": labels.UPSTREAM_ENDPOINTS, "outcome": labels.OUTCOMES},
        )
        self._call_durations = make.histograms(
            "upstream_duration_seconds",
            "Time of one call to the platform.",
            _CALL_BUCKETS,
            {"endpoint": labels.UPSTREAM_ENDPOINTS},
        )
        self._retries = make.counters(
            "upstream_retries_total",
            "Calls made again.",
            {"endpoint": labels.UPSTREAM_ENDPOINTS},
        )
        self._wrong_students = make.counters(
            "upstream_wrong_students_total",
            "Answers of the platform that named another student than the asker.",
            {"endpoint": labels.UPSTREAM_ENDPOINTS},
        )
        self._oddities = make.counters(
            "upstream_oddities_total",
            "Parts of the platform's answers that could not be read as they should.",
            {
                "endpoint": labels.UPSTREAM_ENDPOINTS,
                "kind": sorted({kind for _, kind in labels.ODDITIES}),
            },
            labels.ODDITIES,
        )
        self._hedges = make.counters(
            "upstream_hedges_total",
            "Calls made beside late ones, and those of them that were answered first.",
            {"endpoint": labels.UPSTREAM_ENDPOINTS, "end": labels.HEDGE_ENDS},
        )
        self._breakers = {
            endpoint: make.gauge(
                "breaker_state",
                "Circuit breaker of an endpoint: 0 closed, 1 half-open, 2 open.",
                endpoint=endpoint,
                worker=worker,
            )
            for endpoint in labels.UPSTREAM_ENDPOINTS
        }

    def call_finished(self, endpoint: str, outcome: str, seconds: float) -> None:
        """A call to the platform ended: "ok", "cancelled" or an error's code."""
        self._calls.labels(endpoint, outcome).inc()
        self._call_durations.labels(endpoint).observe(seconds)

    def call_repeated(self, endpoint: str) -> None:
        """A failed call to the platform is retried."""
        self._retries.labels(endpoint).inc()

    def wrong_student(self, endpoint: str) -> None:
        """An answer of the platform named another student than the one who asked."""
        self._wrong_students.labels(endpoint).inc()

    def upstream_oddity(self, endpoint: str, kind: str, count: int) -> None:
        """Parts of an answer of the platform could not be read (labels.ODDITIES)."""
        self._oddities.labels(endpoint, kind).inc(count)

    def call_hedged(self, endpoint: str, end: str) -> None:
        """A hedge has begun ("started") or was answered first ("won")."""
        self._hedges.labels(endpoint, end).inc()

    def breaker_changed(self, endpoint: str, state: str) -> None:
        """The endpoint's circuit is "closed", "half-open" or "open" from now on."""
        self._breakers[endpoint].set(labels.BREAKER_STATES.index(state))
