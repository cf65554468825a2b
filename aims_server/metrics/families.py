"""A metric as it is collected for a scrape: its name, and its samples."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Metric", "Sample"]


class Sample(NamedTuple):
    """One line of the exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


class Metric:
    """A family of samples. ``kind`` is a type of Prometheus', "counter" for one; the
    name of a counter is without its ``_total``.
    """

    __slots__ = ("help", "kind", "name", "samples")

    def __init__(self, name: str, help: str, kind: str) -> None:
        self.name = name
        self.help = help
        self.kind = kind
        self.samples: list[Sample] = []

    def add_sample(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """One more."""
        self.samples.append(Sample(name, labels, value))
