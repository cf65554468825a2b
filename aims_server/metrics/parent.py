"""Owns the metric that the parent process counts."""

from .collector import MetricsMemory
from .instruments import Counter, Instruments

__all__ = ["worker_deaths"]


def worker_deaths(memory: MetricsMemory) -> Counter:
    """The parent's count of workers that ended without being told to; the workers
    expose it with their own metrics.

    >>> from aims_server.metrics import Metrics
    >>> memory = MetricsMemory()
    >>> worker_deaths(memory).inc()
    >>> b"aims_worker_deaths_total 1.0" in Metrics(memory=memory).exposition()
    True
    """
    make = Instruments(memory.open(memory.parent))
    return make.counters("worker_deaths_total", "Workers that died or hung.").labels()
