"""Builds one worker's client of the platform."""

import random
from typing import Final

from .. import __version__
from ..config import Settings
from ..deadline import Clock
from ..logs import IncidentLog, RateLimitedLog
from ..metrics import UpstreamMetrics
from ..primitives import SerialExecutor
from ..upstream import (
    ENDPOINTS,
    Admission,
    Bulkhead,
    EndpointBreakers,
    FailureLog,
    Oddities,
    ResiliencePolicy,
    RetryBudget,
    Transport,
    UpstreamClient,
)

__all__ = ["make_upstream"]

# A call that outlives its asker keeps its handle a moment longer than its slot.
_SPARE_HANDLES: Final = 4


def make_upstream(
    settings: Settings,
    slots: Bulkhead,
    metrics: UpstreamMetrics,
    events: RateLimitedLog,
    incidents: IncidentLog,
    executor: SerialExecutor,
    clock: Clock,
) -> tuple[UpstreamClient, Transport]:
    """Build the client and its transport; the breakers report their states to
    ``metrics`` and ``incidents``.
    """
    breakers = EndpointBreakers(ENDPOINTS, clock=clock)
    breakers.subscribe(metrics.breaker_changed)
    breakers.subscribe(incidents.circuit_changed)
    authorities = settings.external_api_ca_file
    transport = Transport(
        settings.max_concurrent_requests + _SPARE_HANDLES,
        f"aims_server/{__version__}",
        proxy=settings.external_api_proxy,
        authorities=b"" if authorities is None else authorities.content,
    )
    retries = RetryBudget()
    client = UpstreamClient(
        transport,
        ResiliencePolicy(
            Admission(slots, breakers, on_overload=incidents.overloaded, clock=clock),
            metrics,
            retries=retries,
            hedges=retries.for_hedges(),
            random=random.random,
            on_failure=FailureLog(
                settings.external_api_base, events, proxy=settings.external_api_proxy
            ).record,
            # A page takes two round trips: a platform slower than this gives none.
            failing_seconds=settings.gather_timeout_seconds / 2,
            hanging_seconds=settings.request_timeout_seconds,
            background_seconds=settings.gather_timeout_seconds
            - settings.request_timeout_seconds,
        ),
        settings.external_api_base,
        settings.external_api_origin,
        Oddities(metrics.upstream_oddity, events),
        executor,
    )
    return client, transport
