"""Owns the metrics that the parent process counts."""

from .collector import MetricsMemory
from .instruments import Instruments

__all__ = ["ParentMetrics"]


class ParentMetrics:
    """The parent's counts of its workers, which expose them with their own.

    >>> from aims_server.metrics import Metrics
    >>> memory = MetricsMemory()
    >>> ParentMetrics(memory).worker_died()
    >>> b"aims_worker_deaths_total 1.0" in Metrics(memory=memory).exposition()
    True
    """

    def __init__(self, memory: MetricsMemory) -> None:
        make = Instruments(memory.open(memory.parent))
        self._deaths = make.counters(
            "worker_deaths_total",
            "Workers that died or hung.",
        ).labels()

    def worker_died(self) -> None:
        """A worker has ended without being told to."""
        self._deaths.inc()
