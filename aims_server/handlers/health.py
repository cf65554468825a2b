"""The answers of /health, for their handler and for the fast path."""

import time
from collections.abc import Mapping
from typing import Final

import msgspec

from .. import __version__
from ..primitives import utc_timestamp
from ..web import Response, json_response
from .context import HandlerContext

__all__ = ["READY_ONLY", "health_response"]

READY_ONLY: Final = {"/health": True, "/health/ready": True, "/health/live": False}
"""The paths, and whether a draining worker answers 503 there."""


class _UpstreamHealth(msgspec.Struct):
    state: str
    endpoints: Mapping[str, str]


class _StoreHealth(msgspec.Struct):
    state: str


class _Health(msgspec.Struct, rename="camel"):
    status: str
    timestamp: str
    version: str
    uptime_seconds: int
    upstream: _UpstreamHealth
    store: _StoreHealth


def health_response(context: HandlerContext, *, ready_only: bool) -> Response:
    """200 while the loop runs; with ``ready_only`` 503 while draining.

    The states of platform and store do not change the status: if one fails, kept
    answers are still served, and the balancer must not drop this service.
    """
    lifecycle, upstream = context.lifecycle, context.service.upstream
    if lifecycle.draining and ready_only:
        return json_response(503, b'{"status":"draining"}')
    health = _Health(
        status="healthy",
        timestamp=utc_timestamp(int(time.time())),
        version=__version__,
        uptime_seconds=int(lifecycle.uptime_seconds),
        upstream=_UpstreamHealth(upstream.state, upstream.endpoint_states),
        store=_StoreHealth(context.store_state()),
    )
    return json_response(200, msgspec.json.encode(health))
