"""Families of metrics, each with all of its series bound before their first event and
none but the listed ones ever added.

A worker counts here, in a single thread and without a lock; prometheus_client, whose
form the numbers have, is asked only when somebody wants to read them.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Final, Generic, TypeVar

import msgspec

from .mmap_file import Cell, MmapFile

__all__ = ["Counter", "Families", "Gauge", "Histogram", "Series", "Words"]

Words = Mapping[str, Collection[str]]

_UNLABELLED: Final[Words] = {}


class Counter:
    """A number that only grows."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def inc(self, amount: float = 1.0) -> None:
        """Count ``amount`` more; never a negative one."""
        self._cell[0] += amount


class Gauge:
    """A level."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def inc(self) -> None:
        """One more."""
        self._cell[0] += 1.0

    def dec(self) -> None:
        """One less."""
        self._cell[0] -= 1.0

    def set(self, level: float) -> None:
        """Note where it stands."""
        self._cell[0] = level


class Histogram:
    """How many amounts lay up to each bound, and their sum.

    ``buckets`` are one more than the ``bounds``, which ascend; each counts its own.
    """

    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(
        self, bounds: Sequence[float], total: Cell, buckets: Sequence[Cell]
    ) -> None:
        self._bounds = bounds
        self._sum = total
        self._buckets = buckets

    def observe(self, amount: float) -> None:
        """Count one amount."""
        self._sum[0] += amount
        self._buckets[bisect_left(self._bounds, amount)][0] += 1.0


Recorder = TypeVar("Recorder", Counter, Histogram)


class Series(Generic[Recorder]):
    """A family's series, each there before its first event, and no more than listed.

    ``bind`` makes the series of given labels; ``known`` names those to begin with, all
    there can be if not given.
    """

    def __init__(
        self,
        bind: Callable[[Mapping[str, str]], Recorder],
        words: Words,
        known: Iterable[tuple[str, ...]] | None = None,
    ) -> None:
        self._bind: Callable[[Mapping[str, str]], Recorder] = bind
        self._words = words
        self._bound: dict[tuple[str, ...], Recorder] = {}
        for labels in known or product(*words.values()):
            self._add(labels)

    def of(self, *labels: str) -> Recorder:
        """The series of these labels; of "other" in place of a word not listed."""
        return self._bound.get(labels) or self._strange(labels)

    def _strange(self, labels: tuple[str, ...]) -> Recorder:
        mapped = tuple(
            label if label in listed else "other"
            for label, listed in zip(labels, self._words.values(), strict=True)
        )
        return self._bound.get(mapped) or self._add(mapped)

    def _add(self, labels: tuple[str, ...]) -> Recorder:
        series = self._bind(dict(zip(self._words, labels, strict=True)))
        self._bound[labels] = series
        return series


class Families:
    """Makes families whose numbers lie in ``cells``, one for each kind of metric."""

    def __init__(self, cells: Mapping[str, MmapFile]) -> None:
        self._cells = cells

    def counters(
        self,
        name: str,
        text: str,
        words: Words = _UNLABELLED,
        known: Iterable[tuple[str, ...]] | None = None,
    ) -> Series[Counter]:
        """``name`` ends in _total; ``known`` as in :class:`Series`."""
        cell = self._cells["counter"].cell
        family, full = f"aims_{name.removesuffix('_total')}", f"aims_{name}"

        def bind(labels: Mapping[str, str]) -> Counter:
            return Counter(cell(_key(family, full, labels, text)))

        return Series(bind, words, known)

    def histograms(
        self, name: str, text: str, bounds: Sequence[float], words: Words = _UNLABELLED
    ) -> Series[Histogram]:
        """``bounds`` are upper bounds of buckets, ascending, in the family's unit."""
        cell = self._cells["histogram"].cell
        family = f"aims_{name}"
        shown = [*(repr(float(bound)) for bound in bounds), "+Inf"]

        def bind(labels: Mapping[str, str]) -> Histogram:
            total = cell(_key(family, f"{family}_sum", labels, text))
            buckets = [
                cell(_key(family, f"{family}_bucket", {**labels, "le": le}, text))
                for le in shown
            ]
            return Histogram(bounds, total, buckets)

        return Series(bind, words)

    def gauge(self, name: str, text: str, worker: str | None = None) -> Gauge:
        """A level: one figure, added up over the workers, or one for each worker."""
        labels = {} if worker is None else {"worker": worker}
        family = f"aims_{name}"
        return Gauge(self._cells["gauge"].cell(_key(family, family, labels, text)))


def _key(family: str, name: str, labels: Mapping[str, str], text: str) -> bytes:
    """What the library calls a value in a file."""
    return msgspec.json.encode((family, name, labels, text))
