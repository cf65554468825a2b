"""The metric files of all workers of one run: opened, added up, and cleared of gauges
when a worker has ended.

There is one file for each type of metric, named by the worker's number. A counter so
survives a killed worker, the next worker of that number continues it, and restarts
leave no files behind.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import Metric

from .mmap_file import MmapFile, read_mmap_file

__all__ = ["MultiprocessFiles"]

# Each type with the library's file name; a gauge's says how it is merged.
_TYPES: Final = {
    "counter": "counter",
    "histogram": "histogram",
    "gauge": "gauge_livesum",
}


class MultiprocessFiles:
    """The files in one directory, and the sums over all of them; without a directory,
    the values of this process alone.

    >>> files = MultiprocessFiles(None)
    >>> counters = files.open(worker=0)["counter"]
    >>> counters.double(b'["aims_n","aims_n_total",{},"N."]')[0] = 2
    >>> [(metric.name, metric.samples[0].value) for metric in files.collect()]
    [('aims_n', 2.0)]

    prometheus_client's MultiProcessCollector does the same in more than twice the time,
    which is the event loop's: here every metric is merged by adding.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._open: dict[str, MmapFile] = {}

    def open(self, worker: int) -> Mapping[str, MmapFile]:
        """The files of a worker that starts, by type; its gauges are 0."""
        self.retire(worker)
        self._open = {kind: MmapFile(self._path(kind, worker)) for kind in _TYPES}
        return self._open

    def retire(self, worker: int) -> None:
        """Drop the gauges of a worker that has ended; its counters stay."""
        path = self._path("gauge", worker)
        if path is not None:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; nothing can be recorded after this."""
        for file in self._open.values():
            file.close()
        self._open = {}

    def collect(self) -> Iterable[Metric]:
        """The metrics, in the order in which they were made."""
        families: dict[str, Metric] = {}
        for kind in _TYPES:
            reached: defaultdict[tuple[str, ...], float] = defaultdict(float)
            for key, value in self._sums(kind).items():
                family, name, labels, help, series = _read_key(key)
                metric = families.get(family)
                if metric is None:
                    metric = families[family] = Metric(family, help, kind)
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

    def _sums(self, kind: str) -> dict[bytes, float]:
        totals: defaultdict[bytes, float] = defaultdict(float)
        for key, value in self._all(kind):
            totals[key] += value
        return totals

    def _all(self, kind: str) -> Iterator[tuple[bytes, float]]:
        if self._directory is None:
            yield from self._open[kind].items()
            return
        for path in sorted(self._directory.glob(f"{_TYPES[kind]}_*.db")):
            # The parent may retire a worker's gauges at any moment.
            with suppress(FileNotFoundError):
                yield from read_mmap_file(path)

    def _path(self, kind: str, worker: int) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / f"{_TYPES[kind]}_{worker}.db"


@lru_cache(maxsize=4096)
def _read_key(key: bytes) -> tuple[str, str, dict[str, str], str, tuple[str, ...]]:
    """Family, name, labels, help text, and the labels' values but a histogram's le."""
    family, name, labels, help = msgspec.json.decode(key)
    series = (family, *(value for label, value in labels.items() if label != "le"))
    return family, name, labels, help, series
