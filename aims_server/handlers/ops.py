"""The operators' endpoints: health and metrics."""

import hmac
import time
from typing import ClassVar

import msgspec

from .. import __version__
from ..errors import Unauthorized
from ..pages import HEALTH, METRICS
from ..text import utc_timestamp
from ..web import json_response, quality
from .base import BaseHandler, HandlerContext

__all__ = ["HealthHandler", "LiveHandler", "MetricsHandler"]


class _UpstreamHealth(msgspec.Struct):
    state: str
    endpoints: dict[str, str]


class _Health(msgspec.Struct, rename="camel"):
    status: str
    timestamp: str
    version: str
    uptime_seconds: int
    upstream: _UpstreamHealth


class HealthHandler(BaseHandler):
    """GET /health and /health/ready: may a balancer send requests here?

    The platform's state is shown and changes no status: an ill platform must not empty
    the balancer's pool, since kept answers are served all the same.
    """

    endpoint = HEALTH
    ready_only: ClassVar[bool] = True

    def get(self) -> None:
        """200 while requests are taken, 503 while stopping."""
        lifecycle = self.context.lifecycle
        if lifecycle.draining and self.ready_only:
            self.send(json_response(503, b'{"status":"draining"}'))
            return
        health = _Health(
            status="healthy",
            timestamp=utc_timestamp(int(time.time())),
            version=__version__,
            uptime_seconds=int(lifecycle.uptime_seconds),
            upstream=_UpstreamHealth(
                self.service.upstream_state, self.service.endpoint_states
            ),
        )
        self.send(json_response(200, msgspec.json.encode(health)))


class LiveHandler(HealthHandler):
    """GET /health/live: 200 while the loop runs."""

    ready_only = False


class MetricsHandler(BaseHandler):
    """GET /metrics, for Prometheus or as JSON."""

    endpoint = METRICS

    def initialize(self, context: HandlerContext, token: str = "") -> None:
        """``token`` guards the figures; empty lets everybody read them."""
        super().initialize(context)
        self._token = token

    def get(self) -> None:
        """Every worker's figures, added up."""
        if self._token:
            scheme, _, offered = self.request.headers.get(
                "Authorization", ""
            ).partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(
                offered.strip().encode(), self._token.encode()
            ):
                raise Unauthorized
        accept = self.request.headers.get("Accept")
        if quality(accept, "application/json") > quality(accept, "text/plain"):
            self.send(json_response(200, self.context.metrics.summary()))
            return
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write(self.context.metrics.exposition())
