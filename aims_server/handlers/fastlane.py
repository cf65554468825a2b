"""The second front door: a kept, fresh page goes out as ready bytes, past the web
framework. Same policies, same headers, same line in the log as a handler's answer.
"""

import time
from collections.abc import Sequence
from typing import Final

from tornado.httputil import format_timestamp

from ..answers import freshness_headers, header_lines, matches, server_timing
from ..errors import ApiError
from ..heads import plain_get
from ..requests import client_address, request_id, wants_fresh
from ..service import ALL_ATTENDANCE, ATTENDANCE, QUIZ
from ..sessions import bearer_token
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
        keeper = desk.service.keeper
        try:
            session = desk.sessions.read(bearer_token(headers.get("authorization")))
            now = desk.clock()
            entry = keeper.at_hand(resource, session, now)
            if entry is None or (
                wants_fresh(headers.get("cache-control")) and keeper.too_old(entry, now)
            ):
                return None
            forwarded = headers.get("x-forwarded-for")
            address = client_address(
                peer, [forwarded] if forwarded else (), desk.trusted_proxies
            )
            desk.limits.by_address(address).check()
            quota = desk.limits.by_session(session)
            quota.check()
        except ApiError:
            return None
        variant = entry.value.variant(headers.get("accept-encoding"))
        unchanged = matches(headers.get("if-none-match"), variant)
        identity = request_id(headers.get("x-request-id"))
        last = last or headers.get("connection") == "close"
        seconds = time.perf_counter() - began
        block = (
            (_NOT_MODIFIED if unchanged else _OK)
            + (variant.unchanged_block if unchanged else variant.block)
            + header_lines(
                (
                    *freshness_headers(entry, "HIT", now),
                    *quota.headers(),
                    *desk.cors.headers(headers.get("origin")),
                    ("X-Request-Id", identity),
                    ("Server-Timing", server_timing(seconds, "HIT")),
                )
            )
            + (_CLOSE if last else "")
            + self._common()
        ).encode("latin-1")
        # Before the client can know of it (see BaseHandler.finish).
        status = 304 if unchanged else 200
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
        return ((block,) if unchanged else (block, variant.body)), last

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
