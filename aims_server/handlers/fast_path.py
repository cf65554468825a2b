"""The fast path: a kept, fresh page goes out as ready bytes, past the web framework.
Same policies, same headers, same line in the log as a handler's answer.
"""

import time
from collections.abc import Sequence
from typing import Final

from tornado.httputil import format_timestamp

from ..cache import freshness_headers
from ..errors import ApiError
from ..pages import PAGES
from ..web import (
    TokenRequest,
    Variant,
    bearer_token,
    check_body,
    checked_body_token,
    client_address,
    common_headers,
    header_lines,
    json_object,
    negotiate,
    parse_simple_request,
    preferred_media,
    request_id,
    server_timing,
    wants_fresh,
)
from .base import HandlerContext

__all__ = ["FastPath"]

# Found by method and path.
_PAGES: Final = {
    (method, page.path): page for page in PAGES if page.fast for method in page.allowed
}
_OK: Final = "HTTP/1.1 200 OK\r\n"
_NOT_MODIFIED: Final = "HTTP/1.1 304 Not Modified\r\n"
_CLOSE: Final = "Connection: close\r\n"


class FastPath:
    """Serves what can be served without waiting, and declines all else.

    What it declines takes the usual way and is judged there from the beginning: a
    failure of any kind, a page not kept or not fresh, any request that is not of the
    plainest form.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
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
        page = _PAGES.get((method, path))
        if page is None:
            return None
        if preferred_media(headers.get("accept"), page.other_media) is not None:
            return None
        context = self._context
        now = context.clock()
        try:
            token = (
                _body_token(headers, body)
                if method == "POST"
                else bearer_token(headers.get("authorization"))
            )
        except ApiError:
            return None
        session = context.sessions.read(token)
        fresh = wants_fresh(headers.get("cache-control"))
        entry = context.service.answer_cache.get_fresh(
            page.resource, session, now, fresh=fresh
        )
        if entry is None:
            return None
        forwarded = headers.get("x-forwarded-for")
        address = client_address(
            peer, [forwarded] if forwarded else (), context.trusted_proxies
        )
        quota = context.limits.by_both(address, session)
        if quota is None:
            return None
        status, variant = negotiate(
            entry.value,
            method,
            headers.get("accept-encoding"),
            headers.get("if-none-match"),
        )
        identity = request_id(headers.get("x-request-id"))
        last = last or headers.get("connection") == "close"
        seconds = time.perf_counter() - began
        varying = header_lines(
            (
                *freshness_headers(entry, "HIT", now),
                *common_headers(
                    identity,
                    context.cors.headers(headers.get("origin")),
                    quota,
                    server_timing(seconds, "HIT"),
                ),
            )
        )
        parts = self._parts(status, variant, varying, last=last)
        if method == "HEAD":
            parts = parts[:1]
        # Before the client can know of it (see BaseHandler.finish).
        context.metrics.kept_answered(page.name, method, status, seconds)
        context.access_log.write(
            route=page.name,
            method=method,
            path=path,
            status=status,
            seconds=seconds,
            request_id=identity,
            address=address,
            cache="HIT",
        )
        return parts, last

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
            self._end = f"Date: {format_timestamp(second)}\r\n\r\n"
        return self._end


def _body_token(headers: dict[str, str], body: bytes) -> str:
    """The token of ``POST /api/attendance``, read as its handler does."""
    check_body(body, headers.get("content-encoding"))
    request = json_object(body, headers.get("content-type"), TokenRequest)
    return checked_body_token(request.token)
