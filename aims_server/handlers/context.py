"""The objects that all handlers and the fast path work with, and whether this worker
takes work.
"""

from collections.abc import Callable, Sequence

import msgspec

from ..deadline import Clock
from ..logs import AccessLog, IncidentLog
from ..metrics import Metrics
from ..primitives import TrustedProxy
from ..service import AimsService
from ..web import CorsPolicy, RequestLimits, SessionReader, client_address

__all__ = ["HandlerContext", "Lifecycle"]


class Lifecycle:
    """A worker's state as ``/health`` shows it: 503 from when ``draining`` is set.

    >>> Lifecycle(iter([100.0, 112.5]).__next__).uptime_seconds
    12.5
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_at = clock()
        self.draining = False

    @property
    def uptime_seconds(self) -> float:
        """Seconds since this worker was made."""
        return self._clock() - self._started_at


class HandlerContext(msgspec.Struct, frozen=True, kw_only=True):
    """The collaborators of every handler, made once by the composition root."""

    service: AimsService
    sessions: SessionReader
    limits: RequestLimits
    cors: CorsPolicy
    lifecycle: Lifecycle
    metrics: Metrics
    access_log: AccessLog
    incidents: IncidentLog
    trusted_proxies: Sequence[TrustedProxy]
    request_seconds: float
    clock: Clock
    store_state: Callable[[], str]

    def address_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The client address that a request counts against, from the socket's ``peer``
        and the request's ``X-Forwarded-For`` lines.
        """
        return client_address(peer, forwarded_for, self.trusted_proxies)
