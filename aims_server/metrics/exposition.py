"""The metrics of all workers in Prometheus' text format, with the build's versions."""

import sys
from collections.abc import Iterable

import tornado

# Any part of the library imports all of it, http.server and wsgiref too. The parent
# pays for it once, some 10 ms: a worker's first scrape would hold the loop for longer,
# and leave the worker with pages of its own.
from prometheus_client import Metric, generate_latest

from .. import __version__

__all__ = ["expose"]


def expose(families: Iterable[Metric]) -> bytes:
    """The text, format 0.0.4."""
    return generate_latest(_Collected([_build(), *families]))


class _Collected:
    """Metrics in the form in which the library takes them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _build() -> Metric:
    """The same in all workers, so it needs no file."""
    build = Metric(
        "aims_build_info", "Versions of the running software; always 1.", "gauge"
    )
    versions = {
        "version": __version__,
        "python": sys.version.split()[0],
        "tornado": tornado.version,
    }
    build.add_sample("aims_build_info", versions, 1)
    return build
