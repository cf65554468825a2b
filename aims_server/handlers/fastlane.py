"""The second front door: a kept, fresh page goes out as ready bytes, past the web
framework. Same policies, same headers, same line in the log as a handler's answer.
"""

import time
from collections.abc import Sequence
from typing import Final

from tornado.httputil import format_timestamp

from ..answers import (
    Answer,
    Variant,
    freshness_headers,
    header_lines,
    matches,
    server_timing,
)
from ..cache import Entry
from ..errors import ApiError
from ..heads import plain_get
from ..requests import client_address, request_id, wants_fresh
from ..service import ALL_ATTENDANCE, ATTENDANCE, QUIZ
from ..sessions import Session, bearer_token
from .base import Desk

__all__ = ["FastLane"]

# Paths of pages, with what each is called in the cache, the metrics and the log.
_PAGES: Final = {
    "/api/attendance": ATTENDANCE,
    "/api/all-attendance": ALL_ATTENDANCE,
    "/api/quiz": QUIZ,
}
_OK: Final = "HTTP/1.1 200 OK\r\n"
_NOT_MODIFIED: Final = "HTTP/1.1 304 Not Modified\r\n"
_CLOSE: Final = "Connection: close\r\n"


class FastLane:
    """Serves what can be served without waiting, and declines all else.

    What it declines takes the usual way and is judged there from the beginning: a
    failure of any kind, a page not at hand or not fresh, any request that is not of the
    plainest form.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
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
        head = plain_get(request)
        if head is None:
            return None
        path, headers = head
        resource = _PAGES.get(path)
        if resource is None:
            return None
        desk = self._desk
        now = desk.clock()
        found = self._find(resource, headers, now)
        if found is None:
            return None
        session, entry = found
        forwarded = headers.get("x-forwarded-for")
        address = client_address(
            peer, [forwarded] if forwarded else (), desk.trusted_proxies
        )
        quota = desk.limits.by_both(address, session)
        if quota is None:
            return None
        variant = entry.value.variant(headers.get("accept-encoding"))
        status = 304 if matches(headers.get("if-none-match"), variant) else 200
        identity = request_id(headers.get("x-request-id"))
        last = last or headers.get("connection") == "close"
        seconds = time.perf_counter() - began
        varying = header_lines(
            (
                *freshness_headers(entry, "HIT", now),
                *quota.headers(),
                *desk.cors.headers(headers.get("origin")),
                ("X-Request-Id", identity),
                ("Server-Timing", server_timing(seconds, "HIT")),
            )
        )
        parts = self._parts(status, variant, varying, last=last)
        # Before the client can know of it (see BaseHandler.finish).
        desk.metrics.kept_answered(resource, status, seconds)
        desk.access_log.write(
            route=resource,
            method="GET",
            path=path,
            status=status,
            seconds=seconds,
            request_id=identity,
            address=address,
            cache="HIT",
        )
        return parts, last

    def _find(
        self, resource: str, headers: dict[str, str], now: float
    ) -> tuple[Session, Entry[Answer]] | None:
        """Who asks, and the answer that is kept for him and fresh enough."""
        desk = self._desk
        keeper = desk.service.keeper
        try:
            session = desk.sessions.read(bearer_token(headers.get("authorization")))
        except ApiError:
            return None
        entry = keeper.at_hand(resource, session, now)
        if entry is None or (
            wants_fresh(headers.get("cache-control")) and keeper.too_old(entry, now)
        ):
            return None
        return session, entry

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
