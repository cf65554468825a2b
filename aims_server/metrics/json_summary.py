"""The metrics of all workers as one JSON object, for people and small scripts."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from prometheus_client import Metric
from prometheus_client.samples import Sample

from .labels import BREAKER_STATES, STUDENT_ROUTES

__all__ = ["summarize"]


def summarize(families: Iterable[Metric]) -> dict[str, Any]:
    """Sums over all workers; latencies in seconds, null before the first request."""
    samples: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in (sample for family in families for sample in family.samples):
        samples[sample.name.removeprefix("aims_")].append(sample)

    def by(label: str, name: str) -> Tally[str]:
        sums: Tally[str] = Tally()
        for sample in samples[name]:
            sums[sample.labels[label]] += int(sample.value)
        return sums

    def total(name: str) -> int:
        return sum(int(sample.value) for sample in samples[name])

    reached: Tally[float] = Tally()
    for sample in samples["request_duration_seconds_bucket"]:
        if sample.labels["route"] in STUDENT_ROUTES:
            reached[float(sample.labels["le"])] += int(sample.value)
    statuses = by("status", "requests_total")
    lookups = by("outcome", "cache_lookups_total")
    cpu = by("worker", "worker_cpu_seconds_total")
    breakers: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples["breaker_state"]:
        state = BREAKER_STATES[int(sample.value)]
        breakers[sample.labels["worker"]][sample.labels["endpoint"]] = state
    return {
        "requests": {
            "total": statuses.total(),
            "inProgress": total("requests_in_progress"),
            "limited": total("limited_requests_total"),
            "byRoute": by("route", "requests_total"),
        },
        "errors": {
            "client": sum(n for status, n in statuses.items() if status[0] == "4"),
            "server": sum(n for status, n in statuses.items() if status[0] == "5"),
        },
        "latencySeconds": {f"p{p}": _quantile(p / 100, reached) for p in (50, 90, 99)},
        "cache": {
            **{outcome.lower(): number for outcome, number in lookups.items()},
            "entries": total("cache_entries"),
            "bytes": total("cache_bytes"),
            "evictions": total("cache_evictions_total"),
        },
        "upstream": {
            "calls": by("outcome", "upstream_calls_total"),
            "retries": total("upstream_retries_total"),
            "inUse": total("upstream_slots_in_use"),
            "waiting": total("upstream_slots_waiting"),
        },
        "workers": {
            worker: {
                "residentBytes": resident,
                "cpuSeconds": cpu[worker],
                "breaker": max(breakers[worker].values(), key=BREAKER_STATES.index),
                "breakers": breakers[worker],
            }
            for worker, resident in by("worker", "worker_resident_bytes").items()
        },
    }


def _quantile(share: float, reached: Mapping[float, int]) -> float | None:
    """Linear within its bucket; the last finite bound if it lies beyond all of them."""
    wanted = share * reached.get(inf, 0)
    lower, before = 0.0, 0
    for bound, number in reached.items():
        if number >= wanted > 0 and bound != inf:
            inside = (wanted - before) / (number - before)
            return round(lower + (bound - lower) * inside, 6)
        lower, before = (lower, before) if bound == inf else (bound, number)
    return lower if wanted else None
