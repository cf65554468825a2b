"""The files that the workers of one run count in, added up over the workers, and rid of
levels when a worker has ended.

They are named by the worker's slot, one for each kind of metric. So nothing is lost
when it is killed, whoever has the slot next counts on, and restarts leave no files
behind.
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

# Each kind with the library's name for its files; of a gauge they say how it is merged.
_KINDS: Final = {
    "counter": "counter",
    "histogram": "histogram",
    "gauge": "gauge_livesum",
}


class MultiprocessFiles:
    """The files in one directory, and the figures in all of them; without a directory,
    the figures of this process alone.

    Adding up is what the library's MultiProcessCollector does, in less than half of its
    time, which is the event loop's, since here every figure is merged by adding.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._open: dict[str, MmapFile] = {}

    def open_slot(self, slot: int) -> Mapping[str, MmapFile]:
        """What a worker about to begin counts in, by kind, with nothing under way."""
        self.retire(slot)
        self._open = {kind: MmapFile(self._path(kind, slot)) for kind in _KINDS}
        return self._open

    def retire(self, slot: int) -> None:
        """Forget how things stood in a worker that has ended; its counts remain."""
        path = self._path("gauge", slot)
        if path is not None:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; nothing can be recorded after this."""
        for cells in self._open.values():
            cells.close()
        self._open = {}

    def collect(self) -> Iterable[Metric]:
        """The families in the order in which they were made."""
        families: dict[str, Metric] = {}
        for kind in _KINDS:
            reached: defaultdict[tuple[str, ...], float] = defaultdict(float)
            for key, value in self._added_up(kind).items():
                family, name, labels, text, series = _read_key(key)
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

    def _added_up(self, kind: str) -> dict[bytes, float]:
        totals: defaultdict[bytes, float] = defaultdict(float)
        for key, value in self._all(kind):
            totals[key] += value
        return totals

    def _all(self, kind: str) -> Iterator[tuple[bytes, float]]:
        if self._directory is None:
            yield from self._open[kind].items()
            return
        for path in sorted(self._directory.glob(f"{_KINDS[kind]}_*.db")):
            # The parent may retire a slot's gauges at any moment.
            with suppress(FileNotFoundError):
                yield from read_mmap_file(path)

    def _path(self, kind: str, slot: int) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / f"{_KINDS[kind]}_{slot}.db"


@lru_cache(maxsize=4096)
def _read_key(key: bytes) -> tuple[str, str, dict[str, str], str, tuple[str, ...]]:
    """Family, name, labels, help text, and the labels' values but a histogram's le."""
    family, name, labels, text = msgspec.json.decode(key)
    series = (family, *(value for label, value in labels.items() if label != "le"))
    return family, name, labels, text, series
