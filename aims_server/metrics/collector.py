"""Owns the metrics of all workers in shared memory: each worker writes its own part, a
scrape sums all parts, and a worker's gauges are dropped when it has ended.

A part belongs to a worker number. So counters survive a killed worker, and the next
worker with that number continues them.
"""

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Final

import msgspec

from ..primitives import WORKER_NUMBERS
from .instruments import Row
from .shared_values import SharedValues, clear_values, read_values

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["MetricsMemory"]

# More than all combinations of label values need; unwritten memory pages take no
# memory.
_BYTES: Final = {"counter": 384 * 1024, "histogram": 256 * 1024, "gauge": 32 * 1024}
_BEGINS: Final = dict(zip(_BYTES, accumulate(_BYTES.values(), initial=0), strict=False))
_BYTES_PER_WORKER: Final = sum(_BYTES.values())
# Reserve no memory on machines that count what is mapped (mmap(2)). Python has the flag
# since 3.13; on x86 and ARM it is this number.
_NORESERVE: Final = 0x4000 if os.uname().machine in ("x86_64", "aarch64") else 0
_FLAGS: Final = mmap.MAP_SHARED | getattr(mmap, "MAP_NORESERVE", _NORESERVE)


class MetricsMemory:
    """The values of the workers 0 to ``workers`` - 1; make it before the fork.

    >>> from aims_server.metrics.instruments import Instruments
    >>> memory = MetricsMemory(workers=2)
    >>> for worker in range(2):
    ...     make = Instruments(memory.open(worker))
    ...     make.counters("n_total", "N.").labels().inc(2)
    >>> [(metric.name, metric.samples[0].value) for metric in memory.collect()]
    [('aims_n', 4.0)]

    Every metric is merged by adding. prometheus_client's MultiProcessCollector takes
    more than twice the event loop's time.
    """

    def __init__(self, workers: int = WORKER_NUMBERS + 1) -> None:
        self._workers = workers
        # One byte for each worker says whether it ever ran: reading the memory of one
        # that did not would allocate it.
        self._header_bytes = workers + -workers % mmap.PAGESIZE
        size = self._header_bytes + workers * _BYTES_PER_WORKER
        self._memory = memoryview(mmap.mmap(-1, size, flags=_FLAGS))

    def open(self, worker: int) -> Mapping[str, SharedValues]:
        """The values of a starting worker by type; its gauges are 0."""
        self.retire(worker)
        self._memory[worker] = True
        return {kind: SharedValues(self._part(kind, worker)) for kind in _BYTES}

    @property
    def parent(self) -> int:
        """The number of the parent, which counts too: the last."""
        return self._workers - 1

    def retire(self, worker: int) -> None:
        """Drop the gauges of a worker that has ended; its counters stay."""
        if self._memory[worker]:
            clear_values(self._part("gauge", worker))

    def collect(self) -> "Iterable[Metric]":
        """The sums of all metrics, in the order in which they were made."""
        from prometheus_client import Metric

        metrics: dict[str, Metric] = {}
        for kind in _BYTES:
            for key, values in self._sums(kind).items():
                row = msgspec.json.decode(key, type=Row)
                metric = metrics.get(row.family)
                if metric is None:
                    metric = metrics[row.family] = Metric(row.family, row.help, kind)
                for number, labels in enumerate(row.series):
                    begin = number * row.width
                    _add_series(
                        metric,
                        row,
                        dict(zip(row.labels, labels, strict=True)),
                        values[begin : begin + row.width],
                    )
        return metrics.values()

    def _sums(self, kind: str) -> dict[bytes, Sequence[float]]:
        totals: dict[bytes, Sequence[float]] = {}
        for key, values in self._all(kind):
            others = totals.get(key)
            totals[key] = tuple(map(add, others, values)) if others else values
        return totals

    def _all(self, kind: str) -> Iterator[tuple[bytes, Sequence[float]]]:
        for worker in range(self._workers):
            if self._memory[worker]:
                yield from read_values(self._part(kind, worker))

    def _part(self, kind: str, worker: int) -> "memoryview[int]":
        begin = self._header_bytes + worker * _BYTES_PER_WORKER + _BEGINS[kind]
        return self._memory[begin : begin + _BYTES[kind]]


def _add_series(
    metric: "Metric", row: Row, labels: dict[str, str], values: Sequence[float]
) -> None:
    """Add the samples of one series; an exposed bucket includes all before it."""
    if not row.bounds:
        metric.add_sample(row.name, labels, values[0])
        return
    metric.add_sample(f"{row.name}_sum", labels, values[0])
    count = 0.0
    for bound, number in zip(row.bounds, values[1:], strict=True):
        count += number
        metric.add_sample(f"{row.name}_bucket", {**labels, "le": bound}, count)
    metric.add_sample(f"{row.name}_count", labels, count)
