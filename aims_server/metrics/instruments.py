"""Metric instruments. Every label combination exists from the start; a value outside
the list counts as `other`.

Only one thread writes, without a lock: an increment takes 0.5 to 0.8 us,
prometheus_client's 5.8 to 8.9. That library only formats the exposition.

All series of a metric are one row of shared memory. An entry for each of the 578
numbers took 1 ms of a worker's start and 0.2 MB more.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from .shared_values import Doubles, SharedValues

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "Instruments",
    "LabelValues",
    "Labelled",
    "Row",
]

#: The labels of a metric, each with the values it may have.
LabelValues = Mapping[str, Collection[str]]
#: The values of a metric's labels, of several series.
Series: TypeAlias = tuple[tuple[str, ...], ...]

_UNLABELLED: Final[LabelValues] = {}


class Row(msgspec.Struct, array_like=True, frozen=True):
    """The description of a row of shared memory; as JSON it is the row's key.

    The row has one double for each of the ``series``. With ``bounds`` (in the form of
    the exposition, the last one +Inf) it has their sum, and then for each bound the
    number of amounts up to it and above the bound before it.
    """

    family: str
    name: str
    help: str
    labels: tuple[str, ...]
    series: Series
    bounds: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """The number of doubles of one series."""
        return 1 + len(self.bounds)

    def of(self, values: SharedValues) -> Doubles:
        """The row in a worker's memory."""
        return values.row(msgspec.json.encode(self), self.width * len(self.series))


class Counter:
    """A number that only grows."""

    __slots__ = ("_at", "_row")

    def __init__(self, row: Doubles, at: int) -> None:
        self._row = row
        self._at = at

    def inc(self, amount: float = 1.0) -> None:
        """Add ``amount``, which must not be negative."""
        self._row[self._at] += amount


class Gauge:
    """A value that goes up and down."""

    __slots__ = ("_row",)

    def __init__(self, row: Doubles) -> None:
        self._row = row

    def inc(self) -> None:
        """One more."""
        self._row[0] += 1.0

    def dec(self) -> None:
        """One less."""
        self._row[0] -= 1.0

    def set(self, level: float) -> None:
        """Set it to ``level``."""
        self._row[0] = level


class Histogram:
    """The counts of amounts up to each of the ascending ``bounds``, and their sum: the
    doubles from ``at`` on, as `Row` describes them.
    """

    __slots__ = ("_at", "_bounds", "_row")

    def __init__(self, bounds: Sequence[float], row: Doubles, at: int) -> None:
        self._bounds = bounds
        self._row = row
        self._at = at

    def observe(self, amount: float) -> None:
        """Count one amount."""
        self._row[self._at] += amount
        self._row[self._at + 1 + bisect_left(self._bounds, amount)] += 1.0


Instrument = TypeVar("Instrument", Counter, Histogram)


class Labelled(Generic[Instrument]):
    """A metric's instruments by label values; no more than ``values`` allow.

    ``bind`` makes the instruments of some series. ``known`` are the combinations that
    exist from the start, by default all.
    """

    def __init__(
        self,
        bind: Callable[[Series], Iterable[Instrument]],
        values: LabelValues,
        known: Iterable[tuple[str, ...]] | None = None,
    ) -> None:
        self._bind: Callable[[Series], Iterable[Instrument]] = bind
        self._values = values
        self._bound: dict[tuple[str, ...], Instrument] = {}
        self._add(tuple(known or product(*values.values())))

    def labels(self, *labels: str) -> Instrument:
        """The instrument of these label values; an unlisted one counts as "other"."""
        return self._bound.get(labels) or self._unlisted(labels)

    def _unlisted(self, labels: tuple[str, ...]) -> Instrument:
        mapped = tuple(
            label if label in listed else "other"
            for label, listed in zip(labels, self._values.values(), strict=True)
        )
        if mapped not in self._bound:
            self._add((mapped,))
        return self._bound[mapped]

    def _add(self, series: Series) -> None:
        self._bound.update(zip(series, self._bind(series), strict=True))


class Instruments:
    """Makes instruments whose values lie in ``values``, one for each type of metric.

    >>> from aims_server.metrics import MetricsMemory
    >>> make = Instruments(MetricsMemory(workers=1).open(0))
    >>> limited = make.counters("limited_total", "Refused.", {"kind": ("login",)})
    >>> limited.labels("login").inc()
    """

    def __init__(self, values: Mapping[str, SharedValues]) -> None:
        self._values = values

    def counters(
        self,
        name: str,
        help: str,
        values: LabelValues = _UNLABELLED,
        known: Iterable[tuple[str, ...]] | None = None,
    ) -> Labelled[Counter]:
        """``name`` ends in _total; ``known`` as in :class:`Labelled`."""
        family = f"aims_{name.removesuffix('_total')}"

        def bind(series: Series) -> Iterable[Counter]:
            row = Row(family, f"aims_{name}", help, tuple(values), series)
            doubles = row.of(self._values["counter"])
            return (Counter(doubles, at) for at in range(len(doubles)))

        return Labelled(bind, values, known)

    def histograms(
        self,
        name: str,
        help: str,
        bounds: Sequence[float],
        values: LabelValues = _UNLABELLED,
    ) -> Labelled[Histogram]:
        """``bounds`` are upper bounds of buckets, ascending, in the family's unit."""
        family = f"aims_{name}"
        shown = (*(repr(float(bound)) for bound in bounds), "+Inf")

        def bind(series: Series) -> Iterable[Histogram]:
            row = Row(family, family, help, tuple(values), series, shown)
            doubles = row.of(self._values["histogram"])
            firsts = range(0, len(doubles), row.width)
            return (Histogram(bounds, doubles, at) for at in firsts)

        return Labelled(bind, values)

    def gauge(self, name: str, help: str, **labels: str) -> Gauge:
        """One value, summed over the workers unless a label tells them apart."""
        family = f"aims_{name}"
        row = Row(family, family, help, tuple(labels), (tuple(labels.values()),))
        return Gauge(row.of(self._values["gauge"]))
