"""Owns the figures an operator sees: counting, merging over the workers, exposition.

A worker counts in memory-mapped files named by its slot, one for each kind of metric.
So nothing is lost when it is killed, whoever has the slot next counts on, and restarts
leave no files behind. Labels hold the words listed here and nothing a client sent.
"""

import json
import os
import platform
import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from math import inf
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

# Any part of prometheus_client imports all of it: 36 ms and 2 MB (http.server, wsgiref)
# beside Tornado, paid once, in the parent.
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.samples import Sample

from . import __version__

__all__ = ["Metrics"]

Recorder = TypeVar("Recorder", Counter, Histogram)
Words = Mapping[str, Collection[str]]

_UNLABELLED: Final[Words] = {}
_STUDENT_ROUTES: Final = (
    "login",
    "attendance",
    "all-attendance",
    "subject-attendance",
    "quiz",
)
_ROUTES: Final = (*_STUDENT_ROUTES, "health", "metrics", "openapi", "docs", "not-found")
_METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "OTHER")
_READ: Final = (200, 304, 401, 429, 500, 502, 503, 504)
_POSTED: Final = (200, 400, 401, 413, 415, 429, 500, 502, 503, 504)
# What api.md 1 and 2.4 let each endpoint answer.
_DOCUMENTED: Final[Mapping[tuple[str, str], Collection[int]]] = {
    **dict.fromkeys(product(_STUDENT_ROUTES, ["OPTIONS"]), (204, 429)),
    **dict.fromkeys(product(_ROUTES, ["OTHER"]), (405,)),
    ("login", "GET"): (405,),
    ("login", "POST"): _POSTED,
    ("attendance", "GET"): _READ,
    ("attendance", "POST"): _POSTED,
    ("all-attendance", "GET"): _READ,
    ("all-attendance", "POST"): (405,),
    ("subject-attendance", "GET"): (*_READ, 400, 403),
    ("subject-attendance", "POST"): (*_POSTED, 403),
    ("quiz", "GET"): _READ,
    ("quiz", "POST"): (405,),
    ("health", "GET"): (200, 503),
    ("health", "HEAD"): (200, 503),
    ("metrics", "GET"): (200, 401),
    ("openapi", "GET"): (200, 304),
    ("docs", "GET"): (200, 304),
    **dict.fromkeys(product(["not-found"], _METHODS), (404,)),
}
_STATUSES: Final = frozenset(s for some in _DOCUMENTED.values() for s in some)
_STATUS_WORDS: Final = frozenset(
    {*map(str, _STATUSES), "1xx", "2xx", "3xx", "4xx", "5xx"}
)
_RESOURCES: Final = ("attendance", "all-attendance", "subject", "quiz", "course-files")
_LOOKUPS: Final = ("HIT", "MISS", "STALE", "PENDING")
_ENDPOINTS: Final = ("login", "course_files", "cards", "quizzes")
_OUTCOMES: Final = (
    "ok",
    "cancelled",
    "unauthorized",
    "upstream_error",
    "upstream_timeout",
    "upstream_unavailable",
)
_LIMITS: Final = ("student", "address", "login", "connections")
_BREAKER_STATES: Final = ("closed", "half-open", "open")

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL_BUCKETS: Final = (0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 2, 5, 10)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

_GAUGES: Final = "gauge_livesum"  # the library's name for files of such gauges
_FILE_BYTES: Final = 128 * 1024
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """One worker's share of the figures, and the sum over all workers.

    ``worker`` is a slot that no other living process has, or both would overwrite what
    the other counted. ``directory`` is shared by the workers of one run; None keeps the
    figures in this process alone. Make it after the fork. A label's word that is not
    listed is counted as "other" (a status by its class), never added.
    """

    def __init__(
        self, *, worker: int = 0, generation: int = 0, directory: str | None = None
    ) -> None:
        disable_created_metrics()  # a gauge beside every counter: twice the series
        self._exposed = CollectorRegistry()
        self._exposed.register(_Build())
        if directory is None:
            make = _Maker(values.MutexValue, self._exposed)
        else:
            self.retire(directory, worker)  # a newcomer has nothing under way
            for kind in ("counter", "histogram", _GAUGES):
                _reserve(Path(directory, f"{kind}_{worker}.db"))
            # The library takes the directory from nowhere else.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # noqa: TID251
            make = _Maker(values.MultiProcessValue(lambda: worker), None)
            self._exposed.register(_Merged(directory))
        self._values = make.value_class
        self._evictions_seen = 0
        self._cpu_seen = 0.0
        self._make_flows(make)
        self._make_levels(make, str(worker))
        self._start_time.set(time.time())
        self._generation.set(generation)

    def _make_flows(self, make: "_Maker") -> None:
        self._requests = make.counters(
            "requests_total",
            "Requests answered.",
            {"route": _ROUTES, "method": _METHODS, "status": _STATUS_WORDS},
            [(*where, str(s)) for where, some in _DOCUMENTED.items() for s in some],
        )
        self._durations = make.histograms(
            "request_duration_seconds",
            "Time from reading a request to the end of its answer.",
            _BUCKETS,
            {"route": _ROUTES},
        )
        # Bound once, found by what a handler has at hand: this is the hot path.
        self._bound = {
            (*where, status): self._find(*where, str(status))
            for where, statuses in _DOCUMENTED.items()
            for status in statuses
        }
        self._lookups = make.counters(
            "cache_lookups_total",
            "How resources were come by.",
            {"resource": _RESOURCES, "outcome": _LOOKUPS},
        )
        self._joined = make.counters(
            "coalesced_waiters_total", "Lookups that joined a call in flight."
        )
        self._calls = make.counters(
            "upstream_calls_total",
            "Calls to the platform.",
            {"endpoint": _ENDPOINTS, "outcome": _OUTCOMES},
        )
        self._call_durations = make.histograms(
            "upstream_duration_seconds",
            "Time of one call to the platform.",
            _CALL_BUCKETS,
            {"endpoint": _ENDPOINTS},
        )
        self._retries = make.counters(
            "upstream_retries_total", "Calls made again.", {"endpoint": _ENDPOINTS}
        )
        self._limited = make.counters(
            "limited_requests_total", "Requests refused by a limit.", {"kind": _LIMITS}
        )
        self._lags = make.histograms(
            "loop_lag_seconds", "Time by which the event loop was late.", _LAG_BUCKETS
        )
        self._evictions = make.counters(
            "cache_evictions_total", "Answers that had to leave for others."
        )

    def _make_levels(self, make: "_Maker", worker: str) -> None:
        self._in_progress = make.gauge("requests_in_progress", "Requests under way.")
        self._entries = make.gauge("cache_entries", "Answers kept.")
        self._bytes = make.gauge("cache_bytes", "Size of the answers kept.")
        self._in_use = make.gauge("upstream_slots_in_use", "Calls under way.")
        self._waiting = make.gauge("upstream_slots_waiting", "Calls waiting in line.")
        self._limit = make.gauge("upstream_slots_limit", "Calls allowed at once.")
        self._breaker = make.gauge(
            "breaker_state", "Circuit: 0 closed, 1 half-open, 2 open.", worker
        )
        self._resident = make.gauge("worker_resident_bytes", "Memory in use.", worker)
        self._start_time = make.gauge(
            "worker_start_time_seconds", "Start of the worker, Unix time.", worker
        )
        self._generation = make.gauge(
            "worker_generation", "Reloads of the settings before its start.", worker
        )
        self._cpu = make.counters(
            "worker_cpu_seconds_total", "Processor time used.", {"worker": (worker,)}
        ).of(worker)

    # -- recording --------------------------------------------------------

    def request_started(self) -> None:
        """A request was read; ``request_finished`` follows, whatever happens."""
        self._in_progress.inc()

    def request_finished(
        self, route: str, method: str, status: int, seconds: float
    ) -> None:
        """A request was answered, ``seconds`` after it was read."""
        self._in_progress.dec()
        bound = self._bound.get((route, method, status))
        if bound is None:
            bound = self._find(
                route,
                method if method in _METHODS else "OTHER",
                str(status) if status in _STATUSES else f"{status // 100}xx",
            )
        count, observe = bound
        count()
        observe(seconds)

    def _find(
        self, route: str, method: str, status: str
    ) -> tuple[Callable[[], None], Callable[[float], None]]:
        counter = self._requests.of(route, method, status)
        return counter.inc, self._durations.of(route).observe

    def lookup(self, resource: str, outcome: str) -> None:
        """A resource was asked for; ``outcome`` is HIT, MISS, STALE or PENDING."""
        self._lookups.of(resource, outcome).inc()
        if outcome == "PENDING":
            self._joined.of().inc()

    def call_finished(self, endpoint: str, outcome: str, seconds: float) -> None:
        """A call to the platform ended: "ok", "cancelled" or an error's code."""
        self._calls.of(endpoint, outcome).inc()
        self._call_durations.of(endpoint).observe(seconds)

    def call_repeated(self, endpoint: str) -> None:
        """A call to the platform is made once more."""
        self._retries.of(endpoint).inc()

    def limited(self, kind: str) -> None:
        """The limit named ``kind`` refused a request, or a connection."""
        self._limited.of(kind).inc()

    def breaker_changed(self, state: str) -> None:
        """The circuit is "closed", "half-open" or "open" from now on."""
        self._breaker.set(_BREAKER_STATES.index(state))

    def loop_lagged(self, seconds: float) -> None:
        """The event loop came back ``seconds`` later than asked."""
        self._lags.of().observe(seconds)

    def sample(
        self,
        *,
        entries: int,
        bytes: int,
        evictions: int,
        slots_in_use: int,
        slots_waiting: int,
        slots_limit: int,
    ) -> None:
        """Take down how things stand in this worker; to be called once a second.

        ``evictions`` is the store's own count since the worker began.
        """
        self._entries.set(entries)
        self._bytes.set(bytes)
        self._in_use.set(slots_in_use)
        self._waiting.set(slots_waiting)
        self._limit.set(slots_limit)
        self._evictions.of().inc(evictions - self._evictions_seen)
        self._evictions_seen = evictions
        with open("/proc/self/statm", "rb") as statm:
            self._resident.set(int(statm.read().split()[1]) * _PAGE_BYTES)
        used = os.times()
        cpu = used.user + used.system
        self._cpu.inc(cpu - self._cpu_seen)
        self._cpu_seen = cpu

    # -- telling ----------------------------------------------------------

    def exposition(self) -> bytes:
        """All workers' figures as Prometheus text, format 0.0.4."""
        return generate_latest(self._exposed)

    def summary(self) -> bytes:
        """All workers' figures as JSON, for people and small scripts.

        Times are in seconds. Latency is that of the students' endpoints; its quantiles
        are estimated from the histogram's buckets, as PromQL's ``histogram_quantile``
        does, so they are no finer than those; null before the first request.
        """
        return msgspec.json.encode(_summary(self._exposed.collect()))

    def close(self) -> None:
        """Let go of the files; nothing can be recorded after this."""
        if self._values is not values.MutexValue:
            self._values.close_all_files()

    @staticmethod
    def retire(directory: str, slot: int) -> None:
        """Forget how things stood in a process that has ended; its counts remain.

        For the parent, before the slot is given away again or left empty.
        """
        Path(directory, f"{_GAUGES}_{slot}.db").unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    """Give the file all its room before the library maps it.

    Otherwise a full disk would show as a SIGBUS in the middle of some count, and
    another worker's scrape might find the file while it is still empty.
    """
    if not path.exists():
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
        fresh.rename(path)


class _Series(Generic[Recorder]):
    """A family's series, each there before its first event, and no more than listed."""

    def __init__(
        self, family: Recorder, words: Words, known: Iterable[tuple[str, ...]] | None
    ) -> None:
        self._family: Recorder = family
        self._words = words
        self._value_class = values.ValueClass
        self._children: dict[tuple[str, ...], Recorder] = {
            labels: family.labels(*labels) if labels else family
            for labels in known or product(*words.values())
        }

    def of(self, *labels: str) -> Recorder:
        """The series of these labels; of "other" in place of a word not listed."""
        return self._children.get(labels) or self._strange(labels)

    def _strange(self, labels: tuple[str, ...]) -> Recorder:
        values.ValueClass = self._value_class
        mapped = (
            label if label in listed else "other"
            for label, listed in zip(labels, self._words.values(), strict=True)
        )
        child: Recorder = self._family.labels(*mapped)
        return child


class _Maker:
    """Makes families whose values are of one class, with all their listed series."""

    def __init__(self, value_class: Any, registry: CollectorRegistry | None) -> None:
        self.value_class = values.ValueClass = value_class
        self._registry = registry

    def counters(
        self,
        name: str,
        text: str,
        words: Words = _UNLABELLED,
        known: Iterable[tuple[str, ...]] | None = None,
    ) -> _Series[Counter]:
        """``known`` names the series to begin with, all there can be if not given."""
        family = Counter(f"aims_{name}", text, words, registry=self._registry)
        return _Series(family, words, known)

    def histograms(
        self, name: str, text: str, buckets: Sequence[float], words: Words = _UNLABELLED
    ) -> _Series[Histogram]:
        family = Histogram(
            f"aims_{name}", text, words, registry=self._registry, buckets=buckets
        )
        return _Series(family, words, None)

    def gauge(self, name: str, text: str, worker: str | None = None) -> Gauge:
        """A level: one figure, added up over the workers, or one for each worker."""
        family = Gauge(
            f"aims_{name}",
            text,
            [] if worker is None else ["worker"],
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        return family if worker is None else family.labels(worker)


class _Build:
    """What runs; the same in all workers, so it needs no file."""

    def __init__(self) -> None:
        self._labels = {
            "version": __version__,
            "python": platform.python_version(),
            "tornado": version("tornado"),
        }

    def collect(self) -> list[Metric]:
        build = Metric("aims_build_info", "What runs.", "gauge")
        build.add_sample("aims_build_info", self._labels, 1)
        return [build]


@lru_cache(maxsize=4096)
def _read_key(key: str) -> tuple[str, str, str, dict[str, str], tuple[str, ...]]:
    """Family, help text, name, labels, and the labels' values but a histogram's le."""
    family, name, labels, text = json.loads(key)
    series = (family, *(value for label, value in labels.items() if label != "le"))
    return family, text, name, labels, series


class _Merged:
    """The figures in all files of a directory.

    Does what the library's MultiProcessCollector does in less than half of its time,
    which is the event loop's, since here every figure is merged by adding.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def collect(self) -> Iterable[Metric]:
        """The families in the order in which they were made."""
        families: dict[str, Metric] = {}
        for kind in ("counter", "histogram", "gauge"):
            reached: defaultdict[tuple[str, ...], float] = defaultdict(float)
            for key, value in self._added_up(kind).items():
                family, text, name, labels, series = _read_key(key)
                metric = families.get(family)
                if metric is None:
                    metric = families[family] = Metric(family, text, kind)
                if "le" in labels:
                    # Each bucket stands alone in the files, in ascending order; in the
                    # exposition it includes those before it.
                    reached[series] += value
                    value = reached[series]
                metric.add_sample(name, labels, value)
                if labels.get("le") == "+Inf":
                    plain = {k: v for k, v in labels.items() if k != "le"}
                    metric.add_sample(f"{family}_count", plain, value)
        return families.values()

    def _added_up(self, kind: str) -> dict[str, float]:
        totals: defaultdict[str, float] = defaultdict(float)
        for path in sorted(self._directory.glob(f"{kind}_*.db")):
            # The parent may retire a slot's gauges at any moment.
            with suppress(FileNotFoundError):
                for key, value, _, _ in MmapedDict.read_all_values_from_file(path):
                    totals[key] += value
        return totals


def _summary(families: Iterable[Metric]) -> dict[str, Any]:
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
        if sample.labels["route"] in _STUDENT_ROUTES:
            reached[float(sample.labels["le"])] += int(sample.value)
    statuses = by("status", "requests_total")
    lookups = by("outcome", "cache_lookups_total")
    cpu = by("worker", "worker_cpu_seconds_total")
    breaker = by("worker", "breaker_state")
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
                "breaker": _BREAKER_STATES[breaker[worker]],
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
