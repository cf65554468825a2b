"""One request and its answer: limits, outcome, and what headers, metrics and log say of
it. Handlers and the fast path both use it; it knows no framework.
"""

import logging
from collections.abc import Callable
from typing import Final

from ..cache import Served
from ..deadline import Deadline
from ..errors import ApiError, InternalError, RateLimited, TokenRefused, UpstreamError
from ..logs import current_request_id
from ..pages import Endpoint
from ..web import (
    Answer,
    Caller,
    Quota,
    Response,
    Session,
    address_key,
    common_lines,
    error_response,
    server_timing,
)
from .context import HandlerContext

__all__ = ["Exchange"]

_log = logging.getLogger(__name__)
_FROM_PLATFORM: Final = ("MISS", "PENDING")
_OF_PLATFORM: Final = (UpstreamError, TokenRefused)


class Exchange:
    """One request to an ``endpoint`` from a client's ``address``, and its answer.

    Its deadline runs from its making; ``seconds()`` gives the time since the request
    was read. Whatever happens, call `answering` and then `answered`.
    """

    __slots__ = (
        "_context",
        "_seconds",
        "_unverified",
        "address",
        "cache_outcome",
        "deadline",
        "endpoint",
        "error_code",
        "quota",
        "request_id",
        "upstream_seconds",
    )

    def __init__(
        self,
        context: HandlerContext,
        endpoint: Endpoint,
        request_id: str,
        address: str,
        seconds: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self.request_id = request_id
        self.address = address
        self.deadline = Deadline(context.request_seconds, context.clock)
        self.quota: Quota | None = None
        self.cache_outcome: str | None = None
        self.upstream_seconds: float | None = None
        self.error_code: str | None = None
        self._context = context
        self._seconds = seconds
        self._unverified: Session | None = None
        context.metrics.request_started()

    def enter(self) -> None:
        """From here on this task's log lines bear the request's id."""
        current_request_id.set(self.request_id)

    # -- limits -----------------------------------------------------------

    def admit_address(self) -> None:
        """Count the request against its address; raises :class:`RateLimited`."""
        if self.endpoint.limited:
            self.quota = self._context.limits.by_address(self.address)
            self.quota.check()

    def admit(self, token: str, session: Session | None = None) -> Caller:
        """The caller with this well-formed token, counted against its quota; raises
        :class:`RateLimited`. ``session`` is the token's, if it was read already.
        """
        context = self._context
        session = session or context.sessions.read(token)
        self.quota = context.limits.by_session(session, self.address)
        if session.verified_student is None:
            self._unverified = session
        elif not self.quota.decision.allowed:
            context.limits.student_refused(self.address)
        self.quota.check()
        return Caller(session, token, address_key(self.address))

    # -- outcome ----------------------------------------------------------

    def note_served(self, served: Served[Answer]) -> None:
        """Note for log and quota where a student's answer came from; call it as soon as
        the service has given it.
        """
        if self._unverified is not None and self.quota is not None:
            self.quota = self._context.limits.move_to_student(
                self._unverified, self.address, self.quota
            )
        self.cache_outcome = served.outcome.value
        if self.cache_outcome in _FROM_PLATFORM:
            self.upstream_seconds = self._seconds()  # nearly all went to the platform

    def failed(self, fault: BaseException | None) -> Response:
        """The contract's error response to this fault, which says nothing more."""
        failure = fault if isinstance(fault, ApiError) else InternalError()
        self.error_code = failure.code
        if isinstance(failure, _OF_PLATFORM) and self.upstream_seconds is None:
            self.upstream_seconds = self._seconds()
        beside = None
        if isinstance(failure, RateLimited):
            self._context.metrics.limited(failure.kind)
            self._context.incidents.limited(failure.kind, self.address, self.request_id)
            beside = failure.beside
        return error_response(failure, self.request_id, beside=beside)

    def log_fault(self, fault: BaseException | None) -> None:
        """Log a fault of ours; an expected failure has its access line only."""
        if not isinstance(fault, ApiError) or isinstance(fault, InternalError):
            _log.error("Unexpected failure in %s", self.endpoint.name, exc_info=fault)

    # -- the way out ------------------------------------------------------

    def header_lines(self, origin: str | None) -> str:
        """The header lines of every answer to a request with this ``Origin``."""
        timing = (
            server_timing(self._seconds(), self.cache_outcome, self.upstream_seconds)
            if self.endpoint.limited
            else None
        )
        cors = self._context.cors.lines(origin)
        return common_lines(self.request_id, cors, self.quota, timing)

    def answering(self, method: str, status: int) -> None:
        """Count the answer; call it before sending. Sending wakes the client, often on
        this CPU, and a worker killed just then would not have counted its answer.
        """
        self._context.metrics.request_finished(
            self.endpoint.name, method, status, self._seconds()
        )

    def answered(self, method: str, path: str, status: int) -> None:
        """Write the request's access line; ``path`` has no query."""
        self._context.access_log.write(
            route=self.endpoint.name,
            method=method,
            path=path,
            status=status,
            seconds=self._seconds(),
            request_id=self.request_id,
            address=self.address,
            cache=self.cache_outcome,
            upstream_seconds=self.upstream_seconds,
            code=self.error_code,
            quiet=self.endpoint.quiet,
        )
