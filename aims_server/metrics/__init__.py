"""Counters, gauges and histograms, summed over all workers, in Prometheus' forms.

Other packages call `Metrics`; only this one knows prometheus_client.
"""

from .collector import MetricsMemory
from .parent import worker_deaths
from .recorder import Metrics
from .sharing import SharingMetrics
from .upstream import UpstreamMetrics

__all__ = [
    "Metrics",
    "MetricsMemory",
    "SharingMetrics",
    "UpstreamMetrics",
    "worker_deaths",
]
