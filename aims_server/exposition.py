"""The figures of all workers as Prometheus text, with a word on what runs."""

import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from . import __version__

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["expose"]


def expose(families: Iterable["Metric"]) -> bytes:
    """The text, format 0.0.4."""
    # Any part of the library imports all of it, http.server and wsgiref too, which a
    # start would wait for; the first scrape has the time.
    from prometheus_client import generate_latest

    return generate_latest(_Collected([_build(), *families]))


class _Collected:
    """Families in the shape in which the library takes them."""

    def __init__(self, families: list["Metric"]) -> None:
        self._families = families

    def collect(self) -> list["Metric"]:
        return self._families


@cache
def _build() -> "Metric":
    """One series, the same in all workers, so it needs no file."""
    from importlib.metadata import version

    from prometheus_client import Metric

    build = Metric("aims_build_info", "What runs.", "gauge")
    words = {
        "version": __version__,
        "python": sys.version.split()[0],
        "tornado": version("tornado"),
    }
    build.add_sample("aims_build_info", words, 1)
    return build
