"""What every handler does the same way: identify the request, count it, apply the
policies, and turn any failure into the contract's error body.
"""

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType

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
    UpstreamError,
)
from ..logs import AccessLog, IncidentLog, current_request_id
from ..metrics import Metrics
from ..pages import NOT_FOUND, Endpoint
from ..service import AimsService
from ..upstream import CallTally, call_tally
from ..web import (
    Answer,
    Caller,
    CorsPolicy,
    Quota,
    RequestLimits,
    Response,
    Session,
    SessionReader,
    TrustedProxy,
    address_key,
    check_body,
    client_address,
    common_headers,
    error_response,
    negotiate,
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
    incidents: IncidentLog
    trusted_proxies: Sequence[TrustedProxy]
    request_seconds: float
    clock: Clock
    store_state: Callable[[], str]

    def refused_by_limit(self, kind: str, address: str) -> None:
        """Count a request that a limit refused, and tell it."""
        self.metrics.limited(kind)
        self.incidents.limited(kind, address)


class BaseHandler(RequestHandler):
    """One request to an ``endpoint``, its row in the table of pages; of itself this
    class answers for every path that has none.
    """

    endpoint: Endpoint = NOT_FOUND

    def initialize(self, context: HandlerContext) -> None:
        """Begin to count here: for a 405 Tornado never calls ``prepare``."""
        # Tornado's request_time() is by the wall clock, which may be set meanwhile.
        self._began = time.monotonic()
        self.context = context
        self.service = context.service
        self.request_id = request_id(self.request.headers.get("X-Request-Id"))
        current_request_id.set(self.request_id)
        self.tally = CallTally()
        call_tally.set(self.tally)
        self.address = _address(self.request, context)
        self.deadline = Deadline(context.request_seconds, context.clock)
        self.quota: Quota | None = None
        self.unnamed: Session | None = None
        self.cache_outcome: str | None = None
        self.upstream_seconds: float | None = None
        self.error_code: str | None = None
        # Bodies are read by web.request_parsing: Tornado's own parsing would answer a
        # broken form before any policy is asked, in words of its own.
        self.request._parse_body = _nothing  # type: ignore[method-assign]  # see above
        context.metrics.request_started()

    @property
    def seconds(self) -> float:
        """How long this request has taken so far."""
        return time.monotonic() - self._began

    def prepare(self) -> None:
        """Apply the policies that hold for every endpoint."""
        if self.endpoint.limited:
            self.quota = self.context.limits.by_address(self.address)
            self.quota.check()
        headers = self.request.headers
        check_body(self.request.body, headers.get("Content-Encoding"))
        if self.request.method == "OPTIONS":
            return  # on every path, so that a browser may read the 404 too
        if self.endpoint is NOT_FOUND:
            raise NotFound
        if self.request.method not in self.endpoint.allowed:
            raise MethodNotAllowed(self.endpoint.allowed)

    def set_default_headers(self) -> None:
        """Name no server; ``finish`` adds the others, whatever happens in between."""
        self.clear_header("Server")

    async def head(self) -> None:
        """Answer as to a GET; Tornado leaves the body out."""
        answered = self.get()
        if answered is not None:
            await answered

    def options(self) -> None:
        """Answer a CORS preflight; an unlisted origin's gets no permission."""
        origin = self.request.headers.get("Origin")
        allowed = self.endpoint.allowed
        for name, value in self.context.cors.preflight(origin, allowed):
            self.set_header(name, value)
        self.set_header("Allow", ", ".join(allowed))
        self.clear_header("Content-Type")
        self.set_status(204)

    # -- what handlers use ------------------------------------------------

    def admitted(self, token: str) -> Caller:
        """The caller behind a well-formed token, counted against its quota."""
        caller = self.context.sessions.caller(token, address_key(self.address))
        session = caller.session
        self.quota = self.context.limits.by_session(session, self.address)
        self.quota.check()
        if session.verified_student is None:
            self.unnamed = session
        return caller

    def send(self, response: Response) -> None:
        """Write an answer as it was composed."""
        self.set_status(response.status)
        for name, value in response.headers:
            self.set_header(name, value)
        if response.body:
            self.write(response.body)

    def send_negotiated(self, answer: Answer, *more: tuple[str, str]) -> None:
        """Write the form of an answer that the request gets, with ``more`` headers; or
        304 when the client has it already.
        """
        asked = self.request.headers
        status, variant = negotiate(
            answer,
            self.request.method or "",
            asked.get("Accept-Encoding"),
            asked.get("If-None-Match"),
        )
        unchanged = status == 304
        headers = variant.unchanged_headers if unchanged else variant.headers
        self.send(
            Response(status, (*headers, *more), b"" if unchanged else variant.body)
        )

    def send_answer(self, served: Served[Answer], began: float) -> None:
        """Write a student's answer; ``began`` is when it was asked for."""
        self.note_served(served, began)
        now = self.context.clock()
        freshness = freshness_headers(served.entry, served.outcome.value, now)
        self.send_negotiated(served.entry.value, *freshness)

    def note_served(self, served: Served[Answer], began: float) -> None:
        """How a student's answer was come by, for the log and the quota."""
        if self.unnamed is not None and self.quota is not None:
            self.quota = self.context.limits.named(
                self.unnamed, self.address, self.quota
            )
        self.cache_outcome = served.outcome.value
        if self.cache_outcome in ("MISS", "PENDING"):
            self.upstream_seconds = time.monotonic() - began

    # -- the way out ------------------------------------------------------

    def finish(  # type: ignore[override]  # Tornado's own type is wider than our use
        self, chunk: bytes | None = None
    ) -> "object":
        """Add what every answer carries, success and failure alike."""
        self.add_common_headers()
        if not self._finished:
            # Before the client can know of it: sending wakes the client, often on this
            # CPU, and a worker killed just then would not have counted what it served.
            self.context.metrics.request_finished(
                self.endpoint.name,
                self.request.method or "",
                self.get_status(),
                self.seconds,
            )
        return super().finish(chunk)

    def add_common_headers(self) -> None:
        """Those of every answer; for one that is sent in pieces, before the first."""
        timing = (
            server_timing(
                self.seconds,
                self.cache_outcome,
                self.upstream_seconds,
                self.tally.hedges,
            )
            if self.endpoint.limited
            else None
        )
        cors = self.context.cors.headers(self.request.headers.get("Origin"))
        for name, value in common_headers(self.request_id, cors, self.quota, timing):
            self.set_header(name, value)
        if "Vary" not in self._headers:
            self.set_header("Vary", "Origin")

    def compute_etag(self) -> None:
        """Leave ETags to the answers that have them; Tornado's would hash each body
        and be the same for every encoding.
        """

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Say what went wrong in the contract's form, and nothing more."""
        exc_info = kwargs.get("exc_info")
        failure = self._failure(exc_info[1] if isinstance(exc_info, tuple) else None)
        self.error_code = failure.code
        if isinstance(failure, UpstreamError) and self.upstream_seconds is None:
            # Nothing else takes a time worth telling from the whole.
            self.upstream_seconds = self.seconds
        beside = None
        if isinstance(failure, RateLimited):
            self.context.refused_by_limit(failure.kind, self.address)
            beside = failure.beside
        self.send(error_response(failure, self.request_id, beside=beside))
        self.finish()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Expected failures have their access line; only our own faults say more."""
        if isinstance(self._failure(value), InternalError):
            _log.error("Unexpected failure in %s", self.endpoint.name, exc_info=value)

    def on_finish(self) -> None:
        """One access line for every request, whatever its end."""
        request = self.request
        self.context.access_log.write(
            route=self.endpoint.name,
            method=request.method or "",
            path=request.path,
            status=self.get_status(),
            seconds=self.seconds,
            request_id=self.request_id,
            address=self.address,
            cache=self.cache_outcome,
            upstream_seconds=self.upstream_seconds,
            code=self.error_code,
            quiet=self.endpoint.quiet,
        )

    def _failure(self, fault: BaseException | None) -> ApiError:
        if isinstance(fault, ApiError):
            return fault
        if isinstance(fault, HTTPError):
            if fault.status_code == 405:
                return MethodNotAllowed(self.endpoint.allowed)
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
