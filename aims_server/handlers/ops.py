"""Handlers of the operators' endpoints: health and metrics."""

import hmac
from typing import ClassVar

from ..errors import Unauthorized
from ..pages import HEALTH, METRICS
from ..web import json_response, quality
from .base import BaseHandler
from .context import HandlerContext
from .health import READY_ONLY, health_response

__all__ = ["HealthHandler", "MetricsHandler", "TokenHandler"]


class HealthHandler(BaseHandler):
    """GET /health and the paths below it, if the fast path has declined the request."""

    endpoint = HEALTH

    def get(self) -> None:
        """The answer for this path (:func:`health_response`)."""
        ready_only = READY_ONLY[self.request.path]
        self.send(health_response(self.context, ready_only=ready_only))


class TokenHandler(BaseHandler):
    """Answers only the bearer of METRICS_TOKEN, if that is set."""

    refusal: ClassVar[type[Unauthorized]] = Unauthorized

    def initialize(self, context: HandlerContext, token: str = "") -> None:
        """``token`` guards the metrics; empty lets everybody read them."""
        super().initialize(context)
        self._token = token

    def check_token(self) -> None:
        """Raise ``refusal`` for a missing or wrong token. An address that has guessed
        too often gets :class:`RateLimited`, even with the right token.
        """
        if not self._token:
            return
        offered = self.offered_token(*self._authorization())
        if not offered:
            raise self.refusal
        limits, address = self.context.limits, self.exchange.address
        # Before the comparison: otherwise guessing could go on until one is right.
        limits.by_guess(address).check()
        if not hmac.compare_digest(offered.encode(), self._token.encode()):
            raise self.refusal
        limits.guess_was_right(address)

    def offered_token(self, scheme: str, credentials: str) -> str | None:
        """The token in ``Authorization``; None if its scheme has none."""
        return credentials if scheme == "bearer" else None

    def _authorization(self) -> tuple[str, str]:
        header = self.request.headers.get("Authorization", "")
        scheme, _, credentials = header.partition(" ")
        return scheme.lower(), credentials.strip()


class MetricsHandler(TokenHandler):
    """GET /metrics, for Prometheus or as JSON."""

    endpoint = METRICS

    async def get(self) -> None:
        """Every worker's metrics, added up."""
        self.check_token()
        await self.context.metrics.prepare()
        accept = self.request.headers.get("Accept")
        as_text = quality(accept, "text/plain;version=0.0.4")
        if quality(accept, "application/json") > as_text:
            self.send(json_response(200, self.context.metrics.summary()))
            return
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write(self.context.metrics.exposition())
