"""The base of all Tornado handlers: applies the policies, and turns any failure into
the contract's error body.
"""

import time
from types import TracebackType

from tornado.web import HTTPError, RequestHandler

from ..cache import Served, freshness_lines
from ..errors import InvalidRequest, MethodNotAllowed, NotFound
from ..pages import NOT_FOUND, Endpoint
from ..web import (
    Answer,
    Response,
    check_body,
    header_pairs,
    negotiate,
    reason_phrase,
    request_id,
)
from .context import HandlerContext
from .exchange import Exchange

__all__ = ["BaseHandler"]


class _AnyMethod(tuple[str, ...]):
    """Contains every method."""

    def __contains__(self, _: object) -> bool:
        return True


class BaseHandler(RequestHandler):
    """One request to an ``endpoint``, a row of the table of pages. This class itself
    answers paths that have no row.
    """

    endpoint: Endpoint = NOT_FOUND
    # `prepare` judges the method. Tornado would refuse an unknown one earlier, and such
    # requests would count against no limit.
    SUPPORTED_METHODS = _AnyMethod()

    def initialize(self, context: HandlerContext) -> None:
        """Take the worker's policies, and begin to count the request."""
        self.context = context
        self.service = context.service
        request = self.request
        # Tornado's own request time follows the wall clock, which may jump.
        began = time.perf_counter()
        self.exchange = Exchange(
            context,
            self.endpoint,
            request_id(request.headers.get("X-Request-Id")),
            context.address_of(
                request.remote_ip or "", request.headers.get_list("X-Forwarded-For")
            ),
            lambda: time.perf_counter() - began,
        )
        self.exchange.enter()
        # web.request_parsing reads bodies. Tornado would answer a broken form itself,
        # before any policy is applied and in its own words.
        request._parse_body = _nothing  # type: ignore[method-assign]  # no option for it

    def prepare(self) -> None:
        """Apply the policies that hold for every endpoint."""
        if self.request.method == "OPTIONS":
            # On every path and without limits: a web page whose preflight is refused
            # cannot read the answer to the request itself, be it a 404 or a 429.
            return
        self.exchange.admit_address()
        headers = self.request.headers
        check_body(self.request.body, headers.get("Content-Encoding"))
        if self.endpoint is NOT_FOUND:
            raise NotFound
        if self.request.method not in self.endpoint.allowed:
            raise MethodNotAllowed(self.endpoint.allowed)

    def set_default_headers(self) -> None:
        """Name no server; ``finish`` adds the common headers, whatever happens."""
        self.clear_header("Server")

    async def head(self) -> None:
        """Answer as to a GET; Tornado omits the body."""
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
        self.set_status(204)

    # -- what handlers use ------------------------------------------------

    def send(self, response: Response) -> None:
        """Write a response as it is."""
        self.set_status(response.status, reason_phrase(response.status))
        for name, value in response.headers:
            self.set_header(name, value)
        if response.body:
            self.write(response.body)

    def send_negotiated(self, answer: Answer, varying: str = "") -> None:
        """Write the negotiated form of an answer, or 304 if the client has it already.
        ``varying`` holds the header lines that differ each time.
        """
        asked = self.request.headers
        status, variant = negotiate(
            answer,
            self.request.method or "",
            asked.get("Accept-Encoding"),
            asked.get("If-None-Match"),
        )
        headers = tuple(header_pairs(variant.lines(status) + varying))
        self.send(Response(status, headers, b"" if status == 304 else variant.body))

    async def send_answer(self, served: Served[Answer]) -> None:
        """Write a student's answer."""
        self.exchange.note_served(served)
        accepted = self.request.headers.get("Accept-Encoding")
        answer = await served.entry.value.at_hand(accepted)
        now = self.context.clock()
        freshness = freshness_lines(served.entry, served.outcome.value, now)
        self.send_negotiated(answer, freshness)

    # -- the way out ------------------------------------------------------

    def finish(  # type: ignore[override]  # Tornado's own type is wider than our use
        self, chunk: bytes | None = None
    ) -> object:
        """Add the headers of every answer, success and failure alike."""
        self.add_common_headers()
        self.exchange.answering(self.request.method or "", self.get_status())
        return super().finish(chunk)

    def add_common_headers(self) -> None:
        """Add the headers of every answer; call it before an answer's first piece."""
        lines = self.exchange.header_lines(self.request.headers.get("Origin"))
        for name, value in header_pairs(lines):
            self.set_header(name, value)
        if "Vary" not in self._headers:
            self.set_header("Vary", "Origin")

    def compute_etag(self) -> None:
        """None: answers bring their own ETags. Tornado's would hash each body and be
        the same for every encoding.
        """

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Write the contract's error body, and nothing more."""
        exc_info = kwargs.get("exc_info")
        fault = exc_info[1] if isinstance(exc_info, tuple) else None
        self.send(self.exchange.failed(_translated(fault)))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log a fault of ours, also when the answer has begun already."""
        self.exchange.log_fault(_translated(value))

    def on_finish(self) -> None:
        """Write the access line, however the request has ended."""
        request = self.request
        self.exchange.answered(request.method or "", request.path, self.get_status())


def _translated(fault: BaseException | None) -> BaseException | None:
    """The contract's error in place of Tornado's, for a query that is not UTF-8."""
    return InvalidRequest() if isinstance(fault, HTTPError) else fault


def _nothing() -> None:
    """Leave the body as it is."""
