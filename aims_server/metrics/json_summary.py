"""Summarizes the metrics of all workers as one JSON object, for people and scripts."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from .labels import BREAKER_STATES, STUDENT_ROUTES

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.samples import Sample

__all__ = ["summarize"]


def summarize(families: "Iterable[Metric]") -> dict[str, Any]:
    """Sums over all workers; latencies in seconds, null before the first request."""
    samples = _Samples(families)
    statuses = samples.by("status", "requests_total")
    lookups = samples.by("outcome", "cache_lookups_total")
    workers = _workers(samples)
    return {
        "state": _state([worker["leaving"] for worker in workers.values()]),
        "requests": {
            "total": statuses.total(),
            "inProgress": samples.total("requests_in_progress"),
            "limited": samples.total("limited_requests_total"),
            "limitedBy": samples.by("kind", "limited_requests_total"),
            "byRoute": samples.by("route", "requests_total"),
        },
        "errors": {
            "client": sum(n for status, n in statuses.items() if status[0] == "4"),
            "server": sum(n for status, n in statuses.items() if status[0] == "5"),
        },
        "latencySeconds": samples.quantiles(
            "request_duration_seconds", "route", STUDENT_ROUTES
        ),
        "cache": {
            **{outcome.lower(): number for outcome, number in lookups.items()},
            "entries": samples.total("cache_entries"),
            "bytes": samples.total("cache_bytes"),
            "evictions": samples.total("cache_evictions_total"),
        },
        "upstream": {
            "calls": samples.by("outcome", "upstream_calls_total"),
            "retries": samples.total("upstream_retries_total"),
            "inUse": samples.total("upstream_slots_in_use"),
            "waiting": samples.total("upstream_slots_waiting"),
            "limit": samples.total("upstream_slots_limit"),
            "endpoints": _endpoints(samples),
        },
        "loopLagSeconds": samples.quantiles("loop_lag_seconds"),
        "logLinesLost": samples.total("log_lines_lost_total"),
        "workers": workers,
    }


class _Samples:
    """All samples by the name of their series."""

    def __init__(self, families: "Iterable[Metric]") -> None:
        self._by_name: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in (sample for family in families for sample in family.samples):
            self._by_name[sample.name.removeprefix("aims_")].append(sample)

    def named(self, name: str) -> "list[Sample]":
        return self._by_name[name]

    def by(self, label: str, name: str) -> Tally[str]:
        """Sums of a series by the values of a label."""
        sums: Tally[str] = Tally()
        for sample in self._by_name[name]:
            sums[sample.labels[label]] += int(sample.value)
        return sums

    def total(self, name: str) -> int:
        return sum(int(sample.value) for sample in self._by_name[name])

    def quantiles(
        self, name: str, label: str = "", values: Collection[str] = ()
    ) -> dict[str, float | None]:
        """The quantiles of a histogram, or of its series with one of these label
        values.
        """
        reached: Tally[float] = Tally()
        for sample in self._by_name[f"{name}_bucket"]:
            if not label or sample.labels[label] in values:
                reached[float(sample.labels["le"])] += int(sample.value)
        return {f"p{p}": _quantile(p / 100, reached) for p in (50, 90, 99)}


def _endpoints(samples: _Samples) -> dict[str, dict[str, Any]]:
    """The platform's endpoints; a breaker's state is the worst of all workers."""
    calls: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for sample in samples.named("upstream_calls_total"):
        calls[sample.labels["endpoint"]][sample.labels["outcome"]] = int(sample.value)
    worst: Tally[str] = Tally()
    for sample in samples.named("breaker_state"):
        endpoint = sample.labels["endpoint"]
        worst[endpoint] = max(worst[endpoint], int(sample.value))
    return {
        endpoint: {
            "calls": outcomes,
            "breaker": BREAKER_STATES[worst[endpoint]],
            "latencySeconds": samples.quantiles(
                "upstream_duration_seconds", "endpoint", (endpoint,)
            ),
        }
        for endpoint, outcomes in calls.items()
    }


def _state(leaving: Sequence[bool]) -> str:
    """The state of the service, by which of its workers are leaving."""
    if not any(leaving):
        return "serving"
    return "draining" if all(leaving) else "replacing"


def _workers(samples: _Samples) -> dict[str, dict[str, Any]]:
    resident = samples.by("worker", "worker_resident_bytes")
    cpu = samples.by("worker", "worker_cpu_seconds_total")
    started = samples.by("worker", "worker_start_time_seconds")
    generations = samples.by("worker", "worker_generation")
    leaving = samples.by("worker", "worker_leaving")
    breakers: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples.named("breaker_state"):
        state = BREAKER_STATES[int(sample.value)]
        breakers[sample.labels["worker"]][sample.labels["endpoint"]] = state
    return {
        worker: {
            "residentBytes": resident[worker],
            "cpuSeconds": cpu[worker],
            "startTime": started[worker],
            "generation": generations[worker],
            "leaving": bool(leaving[worker]),
            "breaker": max(states.values(), key=BREAKER_STATES.index),
            "breakers": states,
        }
        # A worker that starts makes them after the others; until then it is left out.
        for worker, states in breakers.items()
    }


def _quantile(share: float, reached: Mapping[float, int]) -> float | None:
    """Interpolated within its bucket; the last finite bound if it is above them all."""
    wanted = share * reached.get(inf, 0)
    lower, before = 0.0, 0
    for bound, number in reached.items():
        if number >= wanted > 0 and bound != inf:
            inside = (wanted - before) / (number - before)
            return round(lower + (bound - lower) * inside, 6)
        lower, before = (lower, before) if bound == inf else (bound, number)
    return lower if wanted else None
