"""Counters, gauges and histograms added up over all workers, in Prometheus' forms.

`Metrics` is what the others call; only this package knows prometheus_client.
"""

from .collector import MetricsMemory
from .parent import ParentMetrics
from .recorder import Metrics
from .sharing import SharingMetrics
from .upstream import UpstreamMetrics

__all__ = [
    "Metrics",
    "MetricsMemory",
    "ParentMetrics",
    "SharingMetrics",
    "UpstreamMetrics",
]
