"""Owns the metrics that an operator sees: what is counted, when, under which name.

A worker counts in its part of the shared memory (`collector`); a scrape sums all parts.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final

import msgspec

from . import labels
from .collector import MetricsMemory
from .exposition import expose, prepare
from .instruments import Instruments
from .json_summary import summarize
from .labels import DOCUMENTED
from .sharing import SharingMetrics
from .upstream import UpstreamMetrics

__all__ = ["Metrics"]

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_REMEMBERED: Final = 256  # routes, methods and statuses; a client may invent methods
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """One worker's part of the metrics, and the sums over all workers.

    No other living worker may have the number ``worker``, or they would overwrite each
    other's counts. ``memory`` is shared by the workers; without it the metrics are
    those of this process only. Make it after the fork. An unlisted label value counts
    as "other" (a status by its class).
    """

    def __init__(
        self,
        *,
        worker: int = 0,
        generation: int = 0,
        memory: MetricsMemory | None = None,
    ) -> None:
        self._memory = memory or MetricsMemory(workers=worker + 1)
        make = Instruments(self._memory.open(worker))
        self._evictions_seen = 0
        self._lost_seen = 0
        self._cpu_seen = 0.0
        self._replaced = False
        self._make_counts(make, str(worker))
        self._make_gauges(make, str(worker))
        self.sharing = SharingMetrics(make, str(worker))
        self.upstream = UpstreamMetrics(make, str(worker))
        self._start_time.set(time.time())
        self._generation.set(generation)

    def _make_counts(self, make: Instruments, worker: str) -> None:
        self._requests = make.counters(
            "requests_total",
            "Requests answered.",
            {
                "route": labels.ROUTES,
                "method": labels.METHODS,
                "status": labels.STATUS_VALUES,
            },
            [(*where, str(s)) for where, some in DOCUMENTED.items() for s in some],
        )
        self._durations = make.histograms(
            "request_duration_seconds",
            "Time from reading a request to the end of its answer.",
            _BUCKETS,
            {"route": labels.ROUTES},
        )
        # Remembered: this is the hot path.
        self._counts_of = lru_cache(_REMEMBERED)(self._find_counts)
        self._lookups = make.counters(
            "cache_lookups_total",
            "Look-ups of pages and parts of pages, by outcome.",
            {"resource": labels.RESOURCES, "outcome": labels.LOOKUPS},
        )
        self._limited = make.counters(
            "limited_requests_total",
            "Requests refused by a limit.",
            {"kind": labels.LIMITS},
        )
        self._lags = make.histograms(
            "loop_lag_seconds", "Time by which the event loop was late.", _LAG_BUCKETS
        )
        self._log_lines_lost = make.counters(
            "log_lines_lost_total", "Log lines that could not be written."
        )
        self._evictions = make.counters(
            "cache_evictions_total", "Answers evicted for lack of room."
        )
        self._cpu = make.counters(
            "worker_cpu_seconds_total", "Processor time used.", {"worker": (worker,)}
        ).labels(worker)

    def _make_gauges(self, make: Instruments, worker: str) -> None:
        self._in_progress = make.gauge("requests_in_progress", "Requests under way.")
        self._entries = make.gauge(
            "cache_entries", "Answers that workers hold beside CACHE_SHARED_MB."
        )
        self._bytes = make.gauge(
            "cache_bytes", "Size in bytes of the answers that cache_entries counts."
        )
        self._in_use = make.gauge("upstream_slots_in_use", "Calls under way.")
        self._waiting = make.gauge("upstream_slots_waiting", "Calls waiting in line.")
        self._limit = make.gauge("upstream_slots_limit", "Calls allowed at once.")
        self._resident = make.gauge(
            "worker_resident_bytes", "Memory in use.", worker=worker
        )
        self._start_time = make.gauge(
            "worker_start_time_seconds",
            "Start of the worker, Unix time.",
            worker=worker,
        )
        self._generation = make.gauge(
            "worker_generation",
            "Reloads of the settings before its start.",
            worker=worker,
        )
        self._leaving = make.gauge(
            "worker_leaving",
            "1 from when it is told to end: replaced by another, or with the service.",
            worker=worker,
        )

    def request_started(self) -> None:
        """A request was read; ``request_finished`` follows, whatever happens."""
        self._in_progress.inc()

    def request_finished(
        self, route: str, method: str, status: int, seconds: float
    ) -> None:
        """A request was answered, ``seconds`` after it was read."""
        self._in_progress.dec()
        count, observe = self._counts_of(route, method, status)
        count()
        observe(seconds)

    def kept_answered(
        self, resource: str, method: str, status: int
    ) -> Callable[[float], None]:
        """A function that counts one request answered at once with a kept page; call it
        with the seconds that this took.

        It counts what ``request_started``, ``lookup`` and ``request_finished`` count
        for the route of that name, in half a microsecond; but not the requests in
        progress, which would go up and down again.
        """
        hit = self._lookups.labels(resource, "HIT").inc
        count, observe = self._find_counts(resource, method, status)

        def answered(seconds: float) -> None:
            hit()
            count()
            observe(seconds)

        return answered

    def _find_counts(
        self, route: str, method: str, status: int
    ) -> tuple[Callable[[], None], Callable[[float], None]]:
        """The functions that count such an answer and its seconds."""
        counter = self._requests.labels(
            route,
            method if method in labels.METHODS else "OTHER",
            str(status) if status in labels.STATUSES else f"{status // 100}xx",
        )
        return counter.inc, self._durations.labels(route).observe

    def lookup(self, resource: str, outcome: str) -> None:
        """A resource was asked for; ``outcome`` is HIT, MISS, STALE or PENDING."""
        self._lookups.labels(resource, outcome).inc()

    def limited(self, kind: str) -> None:
        """The limit named ``kind`` refused a request, or a connection."""
        self._limited.labels(kind).inc()

    def loop_lagged(self, seconds: float) -> None:
        """The event loop came back ``seconds`` later than asked."""
        self._lags.labels().observe(seconds)

    def log_lines_lost(self, total: int) -> None:
        """``total`` lines of the log were lost since the worker began."""
        self._log_lines_lost.labels().inc(total - self._lost_seen)
        self._lost_seen = total

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
        """Set this worker's gauges; call it once a second.

        ``evictions`` is the store's own count since the worker began.
        """
        self._entries.set(entries)
        self._bytes.set(bytes)
        self._in_use.set(slots_in_use)
        self._waiting.set(slots_waiting)
        self._limit.set(0 if self._replaced else slots_limit)
        self._evictions.labels().inc(evictions - self._evictions_seen)
        self._evictions_seen = evictions
        # If no file can be opened at the moment, the value stays as it was.
        with suppress(OSError), open("/proc/self/statm", "rb") as statm:
            self._resident.set(int(statm.read().split()[1]) * _PAGE_BYTES)
        used = os.times()
        cpu = used.user + used.system
        self._cpu.inc(cpu - self._cpu_seen)
        self._cpu_seen = cpu

    def leaving(self, *, replaced: bool) -> None:
        """The worker has been told to end; with ``replaced`` another one serves
        already, whose limit of calls is that of both.
        """
        self._leaving.set(1)
        if replaced:
            self._replaced = True
            self._limit.set(0)

    async def prepare(self) -> None:
        """Do what would hold the loop; await it before `exposition` or `summary`."""
        await prepare()

    def exposition(self) -> bytes:
        """All workers' metrics as Prometheus text, format 0.0.4."""
        return expose(self._memory.collect())

    def summary(self) -> bytes:
        """All workers' metrics as JSON, for people and small scripts.

        Times are in seconds. Latency is that of the students' endpoints. Its quantiles
        are estimated from the histogram's buckets, like PromQL's
        ``histogram_quantile``; they are null before the first request.
        """
        return msgspec.json.encode(summarize(self._memory.collect()))
