"""Families of metrics, each with all of its series bound before their first event and
none but the listed ones ever added.
"""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any, Final, Generic, TypeVar

# Any part of prometheus_client imports all of it: 36 ms and 2 MB (http.server, wsgiref)
# beside Tornado, paid once, in the parent.
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    values,
)

from . import __version__

__all__ = ["Build", "Families", "Series", "Words"]

Recorder = TypeVar("Recorder", Counter, Histogram)
Words = Mapping[str, Collection[str]]

_UNLABELLED: Final[Words] = {}


class Series(Generic[Recorder]):
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


class Families:
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
    ) -> Series[Counter]:
        """``known`` names the series to begin with, all there can be if not given."""
        family = Counter(f"aims_{name}", text, words, registry=self._registry)
        return Series(family, words, known)

    def histograms(
        self, name: str, text: str, buckets: Sequence[float], words: Words = _UNLABELLED
    ) -> Series[Histogram]:
        """``buckets`` are upper bounds, ascending, in the family's unit."""
        family = Histogram(
            f"aims_{name}", text, words, registry=self._registry, buckets=buckets
        )
        return Series(family, words, None)

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


class Build:
    """What runs: one series, the same in all workers, so it needs no file."""

    @cached_property
    def _labels(self) -> dict[str, str]:
        # Late: it takes longer to import than the first scrape takes to wait for it.
        from importlib.metadata import version

        return {
            "version": __version__,
            "python": sys.version.split()[0],
            "tornado": version("tornado"),
        }

    def collect(self) -> list[Metric]:
        """The one family."""
        build = Metric("aims_build_info", "What runs.", "gauge")
        build.add_sample("aims_build_info", self._labels, 1)
        return [build]
