"""The files that the workers of one run count in: made with all their room, added up
over the workers, and rid of levels when a worker has ended.

They are named by the worker's slot, one for each kind of metric. So nothing is lost
when it is killed, whoever has the slot next counts on, and restarts leave no files
behind.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict

__all__ = ["Ledger"]

_GAUGES: Final = "gauge_livesum"  # the library's name for files of such gauges
_FILE_BYTES: Final = 128 * 1024


class Ledger:
    """The files in one directory, and the figures in all of them.

    Adding up is what the library's MultiProcessCollector does, in less than half of its
    time, which is the event loop's, since here every figure is merged by adding.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def open_slot(self, slot: int) -> None:
        """Make ready the files of a worker about to begin, with nothing under way."""
        self.retire(slot)
        for kind in ("counter", "histogram", _GAUGES):
            _reserve(self._directory / f"{kind}_{slot}.db")

    def retire(self, slot: int) -> None:
        """Forget how things stood in a worker that has ended; its counts remain."""
        (self._directory / f"{_GAUGES}_{slot}.db").unlink(missing_ok=True)

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


@lru_cache(maxsize=4096)
def _read_key(key: str) -> tuple[str, str, str, dict[str, str], tuple[str, ...]]:
    """Family, help text, name, labels, and the labels' values but a histogram's le."""
    family, name, labels, text = json.loads(key)
    series = (family, *(value for label, value in labels.items() if label != "le"))
    return family, text, name, labels, series
