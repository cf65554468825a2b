"""The metrics of all workers, in memory that they share: written by each, added up for
a scrape, and cleared of gauges when a worker has ended.

Each worker number has its values for each type of metric. A counter so survives a
killed worker, and the next worker of that number continues it.
"""

import mmap
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from ..primitives import WORKER_NUMBERS
from .shared_values import SharedValues, clear_values, read_values

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["MetricsMemory"]

# More than all combinations of label values take; pages not written to take none.
_BYTES: Final = {"counter": 384 * 1024, "histogram": 256 * 1024, "gauge": 32 * 1024}
_BYTES_PER_WORKER: Final = sum(_BYTES.values())
# Nothing is reserved where the machine counts what is mapped (mmap(2)). Python has the
# flag since 3.13; on x86 and ARM it is this number.
_NORESERVE: Final = 0x4000 if os.uname().machine in ("x86_64", "aarch64") else 0
_FLAGS: Final = mmap.MAP_SHARED | getattr(mmap, "MAP_NORESERVE", _NORESERVE)


class MetricsMemory:
    """The values of the workers 0 to ``workers`` - 1; to be made before the fork.

    >>> memory = MetricsMemory(workers=2)
    >>> for worker in range(2):
    ...     counters = memory.open(worker)["counter"]
    ...     counters.double(b'["aims_n","aims_n_total",{},"N."]')[0] = 2
    >>> [(metric.name, metric.samples[0].value) for metric in memory.collect()]
    [('aims_n', 4.0)]

    prometheus_client's MultiProcessCollector takes more than twice the time to add up,
    which is the event loop's: here every metric is merged by adding.
    """

    def __init__(self, workers: int = WORKER_NUMBERS + 1) -> None:
        self._workers = workers
        # One byte a worker says whether it ever ran: to read a page of one that did
        # not would allocate it.
        self._header_bytes = workers + -workers % mmap.PAGESIZE
        size = self._header_bytes + workers * _BYTES_PER_WORKER
        self._memory = memoryview(mmap.mmap(-1, size, flags=_FLAGS))

    def open(self, worker: int) -> Mapping[str, SharedValues]:
        """The values of a worker that starts, by type; its gauges are 0.

        A number that there is no memory for gets values that nobody else reads.
        """
        if worker >= self._workers:
            return {
                kind: SharedValues(memoryview(bytearray(size)))
                for kind, size in _BYTES.items()
            }
        self.retire(worker)
        self._memory[worker] = True
        return {kind: SharedValues(self._part(kind, worker)) for kind in _BYTES}

    @property
    def parent(self) -> int:
        """The number under which the parent counts: the last."""
        return self._workers - 1

    def retire(self, worker: int) -> None:
        """Drop the gauges of a worker that has ended; its counters stay."""
        if worker < self._workers and self._memory[worker]:
            clear_values(self._part("gauge", worker))

    def collect(self) -> "Iterable[Metric]":
        """The metrics added up, in the order in which they were made."""
        from prometheus_client import Metric

        metrics: dict[str, Metric] = {}
        for kind in _BYTES:
            cumulated: defaultdict[tuple[str, ...], float] = defaultdict(float)
            for key, value in self._sums(kind).items():
                family, name, labels, help, series = _read_key(key)
                metric = metrics.get(family)
                if metric is None:
                    metric = metrics[family] = Metric(family, help, kind)
                if "le" in labels:
                    # Each bucket is stored alone, in ascending order; exposed, it
                    # includes those before it.
                    cumulated[series] += value
                    value = cumulated[series]
                metric.add_sample(name, labels, value)
                if labels.get("le") == "+Inf":
                    plain = {k: v for k, v in labels.items() if k != "le"}
                    metric.add_sample(f"{family}_count", plain, value)
        return metrics.values()

    def _sums(self, kind: str) -> dict[bytes, float]:
        totals: defaultdict[bytes, float] = defaultdict(float)
        for key, value in self._all(kind):
            totals[key] += value
        return totals

    def _all(self, kind: str) -> Iterator[tuple[bytes, float]]:
        for worker in range(self._workers):
            if self._memory[worker]:
                yield from read_values(self._part(kind, worker))

    def _part(self, kind: str, worker: int) -> "memoryview[int]":
        begin = self._header_bytes + worker * _BYTES_PER_WORKER
        for other, size in _BYTES.items():
            if other == kind:
                break
            begin += size
        return self._memory[begin : begin + _BYTES[kind]]


@lru_cache(maxsize=4096)
def _read_key(key: bytes) -> tuple[str, str, dict[str, str], str, tuple[str, ...]]:
    """Family, name, labels, help text, and the labels' values but a histogram's le."""
    family, name, labels, help = msgspec.json.decode(key)
    series = (family, *(value for label, value in labels.items() if label != "le"))
    return family, name, labels, help, series
