"""The second front door: a kept, fresh page goes out as ready bytes, past the web
framework. Same policies, same headers, same line in the log as a handler's answer.
"""

import time
from collections.abc import Sequence
from typing import Final

from tornado.httputil import format_timestamp

from ..cache import Entry, freshness_headers
from ..errors import ApiError
from ..service import ALL_ATTENDANCE, ATTENDANCE, QUIZ
from ..web import (
    Answer,
    Session,
    TokenRequest,
    Variant,
    bearer_token,
    check_body,
    checked_body_token,
    client_address,
    header_lines,
    json_object,
    matches,
    parse_simple_request,
    request_id,
    server_timing,
    wants_fresh,
)
from .base import HandlerContext

__all__ = ["FastPath"]

# Pages, with what each is called in the cache, the metrics and the log.
_PAGES: Final = {
    ("GET", "/api/attendance"): ATTENDANCE,
    ("POST", "/api/attendance"): ATTENDANCE,
    ("GET", "/api/all-attendance"): ALL_ATTENDANCE,
    ("GET", "/api/quiz"): QUIZ,
}
_OK: Final = "HTTP/1.1 200 OK\r\n"
_NOT_MODIFIED: Final = "HTTP/1.1 304 Not Modified\r\n"
_CLOSE: Final = "Connection: close\r\n"


class FastPath:
    """Serves what can be served without waiting, and declines all else.

    What it declines takes the usual way and is judged there from the beginning: a
    failure of any kind, a page not at hand or not fresh, any request that is not of the
    plainest form.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._desk = context
        self._second = 0
        self._end = ""

    def answer(
        self, request: bytes, peer: str, *, last: bool
    ) -> tuple[Sequence[bytes], bool] | None:
        """Head and body for the bytes of one request, and whether its connection ends
        with them; or None if it is declined.

        ``peer`` is the address of the socket's other end; ``last`` says that the
        connection is to end, whatever the client would like.
        """
        began = time.perf_counter()
        plain = parse_simple_request(request)
        if plain is None:
            return None
        method, path, headers, body = plain
        resource = _PAGES.get((method, path))
        if resource is None:
            return None
        context = self._desk
        now = context.clock()
        try:
            token = (
                bearer_token(headers.get("authorization"))
                if method == "GET"
                else _body_token(headers, body)
            )
        except ApiError:
            return None
        session = context.sessions.read(token)
        entry = self._find(resource, session, headers.get("cache-control"), now)
        if entry is None:
            return None
        forwarded = headers.get("x-forwarded-for")
        address = client_address(
            peer, [forwarded] if forwarded else (), context.trusted_proxies
        )
        quota = context.limits.by_both(address, session)
        if quota is None:
            return None
        variant = entry.value.variant(headers.get("accept-encoding"))
        known = method == "GET" and matches(headers.get("if-none-match"), variant)
        status = 304 if known else 200
        identity = request_id(headers.get("x-request-id"))
        last = last or headers.get("connection") == "close"
        seconds = time.perf_counter() - began
        varying = header_lines(
            (
                *freshness_headers(entry, "HIT", now),
                *quota.headers(),
                *context.cors.headers(headers.get("origin")),
                ("X-Request-Id", identity),
                ("Server-Timing", server_timing(seconds, "HIT")),
            )
        )
        parts = self._parts(status, variant, varying, last=last)
        # Before the client can know of it (see BaseHandler.finish).
        context.metrics.kept_answered(resource, method, status, seconds)
        context.access_log.write(
            route=resource,
            method=method,
            path=path,
            status=status,
            seconds=seconds,
            request_id=identity,
            address=address,
            cache="HIT",
        )
        return parts, last

    def _find(
        self, resource: str, session: Session, cache_control: str | None, now: float
    ) -> Entry[Answer] | None:
        """The answer that is kept for this session, if it is fresh enough."""
        answer_cache = self._desk.service.answer_cache
        entry = answer_cache.get_fresh(resource, session, now)
        if (
            entry is not None
            and wants_fresh(cache_control)
            and answer_cache.too_old(entry, now)
        ):
            return None
        return entry

    def _parts(
        self, status: int, variant: Variant, varying: str, *, last: bool
    ) -> Sequence[bytes]:
        """The answer from its status line to its end."""
        close = _CLOSE if last else ""
        if status == 304:
            head = (
                _NOT_MODIFIED
                + header_lines(variant.unchanged_headers)
                + varying
                + close
            )
            return ((head + self._common()).encode("latin-1"),)
        head = _OK + variant.block + varying + close
        return ((head + self._common()).encode("latin-1"), variant.body)

    def _common(self) -> str:
        """What ends every header block, put into words once a second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._end = (
                "X-Content-Type-Options: nosniff\r\n"
                f"Date: {format_timestamp(second)}\r\n\r\n"
            )
        return self._end


def _body_token(headers: dict[str, str], body: bytes) -> str:
    """The token of ``POST /api/attendance``, read as its handler does."""
    check_body(body, headers.get("content-encoding"))
    request = json_object(body, headers.get("content-type"), TokenRequest)
    return checked_body_token(request.token)
