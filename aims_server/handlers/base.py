"""What every handler does the same way: identify the request, count it, apply the
policies, and turn any failure into the contract's error body.
"""

import ipaddress
import logging
import time
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from ..cache import Served, freshness_headers
from ..deadline import Clock, Deadline
from ..errors import (
    ApiError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    error_body,
)
from ..logs import AccessLog, current_request_id
from ..metrics import Metrics
from ..service import AimsService
from ..web import (
    Answer,
    Caller,
    CorsPolicy,
    Quota,
    RequestLimits,
    SessionReader,
    check_body,
    client_address,
    matches,
    request_id,
    server_timing,
)
from .lifecycle import Lifecycle

__all__ = ["BaseHandler", "HandlerContext"]

_log = logging.getLogger(__name__)


class HandlerContext(msgspec.Struct, frozen=True, kw_only=True):
    """The collaborators of every handler, made once by the composition root."""

    service: AimsService
    sessions: SessionReader
    limits: RequestLimits
    cors: CorsPolicy
    lifecycle: Lifecycle
    metrics: Metrics
    access_log: AccessLog
    trusted_proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
    request_seconds: float
    clock: Clock


class BaseHandler(RequestHandler):
    """One request. ``route`` labels it in metrics and logs; a ``quiet`` one is logged
    at DEBUG only; ``limited`` ones count against the client's address.
    """

    route: ClassVar[str] = "not-found"
    quiet: ClassVar[bool] = False
    limited: ClassVar[bool] = True
    methods: ClassVar[tuple[str, ...]] = ()

    def initialize(self, context: HandlerContext) -> None:
        """Begin to count here: for a 405 Tornado never calls ``prepare``."""
        self.context = context
        self.service = context.service
        self.request_id = request_id(self.request.headers.get("X-Request-Id"))
        current_request_id.set(self.request_id)
        self.address = _address(self.request, context)
        self.deadline = Deadline(context.request_seconds, context.clock)
        self.quota: Quota | None = None
        self.cache_outcome: str | None = None
        self.upstream_seconds: float | None = None
        self.error_code: str | None = None
        # Bodies are read by requests.py: Tornado's own parsing would answer a broken
        # form before any policy is asked, in words of its own.
        self.request._parse_body = _nothing  # type: ignore[method-assign]  # see above
        context.metrics.request_started()

    def prepare(self) -> None:
        """Apply the policies that hold for every endpoint."""
        if self.limited:
            self.quota = self.context.limits.by_address(self.address)
            self.quota.check()
        headers = self.request.headers
        check_body(self.request.body, headers.get("Content-Encoding"))

    def set_default_headers(self) -> None:
        """Name no server, allow no sniffing."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    def options(self) -> None:
        """Answer a CORS preflight; a stranger's gets no permission."""
        origin = self.request.headers.get("Origin")
        for name, value in self.context.cors.preflight(origin, self.methods):
            self.set_header(name, value)
        self.set_header("Allow", ", ".join((*self.methods, "OPTIONS")))
        self.clear_header("Content-Type")
        self.set_status(204)

    # -- what handlers use ------------------------------------------------

    def admitted(self, token: str) -> Caller:
        """The caller behind a well-formed token, counted against its quota."""
        caller = self.context.sessions.caller(token, self.address)
        self.quota = self.context.limits.by_session(caller.session)
        self.quota.check()
        return caller

    def send_json(self, status: int, body: bytes) -> None:
        """Write ready JSON bytes that nobody may keep."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write(body)

    def send_answer(self, served: Served[Answer], began: float) -> None:
        """Write a student's answer, or 304 when the client has it already."""
        self.cache_outcome = served.outcome.value
        if self.cache_outcome in ("MISS", "PENDING"):
            self.upstream_seconds = time.monotonic() - began
        headers = self.request.headers
        variant = served.entry.value.variant(headers.get("Accept-Encoding"))
        unchanged = self.request.method == "GET" and matches(
            headers.get("If-None-Match"), variant
        )
        for name, value in (
            *(variant.unchanged_headers if unchanged else variant.headers),
            *freshness_headers(served.entry, self.cache_outcome, self.context.clock()),
        ):
            self.set_header(name, value)
        if unchanged:
            self.set_status(304)
        else:
            self.write(variant.body)

    # -- the way out ------------------------------------------------------

    def finish(  # type: ignore[override]  # Tornado's own type is wider than our use
        self, chunk: bytes | None = None
    ) -> "object":
        """Add what every answer carries, success and failure alike."""
        self.set_header("X-Request-Id", self.request_id)
        for name, value in self.context.cors.headers(
            self.request.headers.get("Origin")
        ):
            self.set_header(name, value)
        if "Vary" not in self._headers:
            self.set_header("Vary", "Origin")
        if self.quota is not None:
            for name, value in self.quota.headers():
                self.set_header(name, value)
        if self.limited:
            timing = server_timing(
                self.request.request_time(), self.cache_outcome, self.upstream_seconds
            )
            self.set_header("Server-Timing", timing)
        if not self._finished:
            # Before the client can know of it: sending wakes the client, often on this
            # CPU, and a worker killed just then would not have counted what it served.
            self.context.metrics.request_finished(
                self.route,
                self.request.method or "",
                self.get_status(),
                self.request.request_time(),
            )
        return super().finish(chunk)

    def compute_etag(self) -> None:
        """Leave ETags to the answers that have them; Tornado's would hash each body
        and be the same for every encoding.
        """

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Say what went wrong in the contract's form, and nothing more."""
        exc_info = kwargs.get("exc_info")
        failure = self._failure(exc_info[1] if isinstance(exc_info, tuple) else None)
        self.error_code = failure.code
        if isinstance(failure, RateLimited):
            self.context.metrics.limited(failure.kind)
        for name, value in failure.headers():
            self.set_header(name, value)
        self.send_json(failure.status, error_body(failure, self.request_id))
        self.finish()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Expected failures have their access line; only our own faults say more."""
        if isinstance(self._failure(value), InternalError):
            _log.error("Unexpected failure in %s", self.route, exc_info=value)

    def on_finish(self) -> None:
        """One access line for every request, whatever its end."""
        request = self.request
        self.context.access_log.write(
            route=self.route,
            method=request.method or "",
            path=request.path,
            status=self.get_status(),
            seconds=request.request_time(),
            request_id=self.request_id,
            address=self.address,
            cache=self.cache_outcome,
            upstream_seconds=self.upstream_seconds,
            code=self.error_code,
            quiet=self.quiet,
        )

    def _failure(self, fault: BaseException | None) -> ApiError:
        if isinstance(fault, ApiError):
            return fault
        if isinstance(fault, HTTPError):
            if fault.status_code == 405:
                return MethodNotAllowed((*self.methods, "OPTIONS"))
            if fault.status_code == 404:
                return NotFound()
            if fault.status_code < 500:
                return InvalidRequest()
        return InternalError()


def _nothing() -> None:
    """Leave the body as it is."""


def _address(request: HTTPServerRequest, context: HandlerContext) -> str:
    return client_address(
        request.remote_ip or "",
        request.headers.get_list("X-Forwarded-For"),
        context.trusted_proxies,
    )
