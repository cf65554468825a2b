"""Formats the metrics of all workers as Prometheus text, with the build's versions."""

import asyncio
import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import tornado

from .. import __version__

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["expose", "prepare"]


async def prepare() -> None:
    """Import prometheus_client if need be, in a thread, so that the event loop has a
    turn every 5 ms (`sys.getswitchinterval`).

    Any part of it imports all of it, http.server and wsgiref too. That takes 10 ms,
    which a start need not wait for, and 2 MB of each worker that is scraped.
    """
    if "prometheus_client" not in sys.modules:
        await asyncio.to_thread(importlib.import_module, "prometheus_client")


def expose(families: "Iterable[Metric]") -> bytes:
    """The text, format 0.0.4."""
    from prometheus_client import generate_latest

    return generate_latest(_Collected([_build(), *families]))


class _Collected:
    """Metrics in the form that the library takes."""

    def __init__(self, families: "list[Metric]") -> None:
        self._families = families

    def collect(self) -> "list[Metric]":
        return self._families


def _build() -> "Metric":
    """The same in all workers, so it is not in the memory that they share."""
    from prometheus_client import Metric

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
