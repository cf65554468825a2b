"""The second front door: a kept, fresh page goes out as ready bytes, past the web
framework. Same policies, same headers, same line in the log as a handler's answer.
"""

import re
import time
from typing import Any, Final, Protocol

from tornado.httputil import HTTPHeaders, RequestStartLine, format_timestamp

from ..answers import Variant, freshness_headers, matches, server_timing
from ..errors import ApiError
from ..requests import client_address, request_id, wants_fresh
from ..service import ALL_ATTENDANCE, ATTENDANCE, QUIZ
from ..sessions import bearer_token
from .base import Desk

__all__ = ["Connection", "FastLane"]

# Paths of pages, with what each is called in the cache, the metrics and the log.
_PAGES: Final = {
    "/api/attendance": ATTENDANCE,
    "/api/all-attendance": ALL_ATTENDANCE,
    "/api/quiz": QUIZ,
}
# One host and an ordinary one; the web framework judges the others.
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]+")
_STATUS_LINES: Final = {
    200: b"HTTP/1.1 200 OK\r\n",
    304: b"HTTP/1.1 304 Not Modified\r\n",
}


class Connection(Protocol):
    """What the lane needs of a server's connection (see listener)."""

    context: Any  # its ``remote_ip`` is the peer's address

    @property
    def closes(self) -> bool:
        """Whether it ends with this answer."""

    def write(self, chunk: bytes) -> object:
        """Send bytes; a ready header block may lead them."""

    def finish(self) -> None:
        """The answer is whole."""


class FastLane:
    """Serves what can be served without waiting, and declines all else.

    What it declines takes the usual way and is judged there from the beginning: a
    failure of any kind, a page not at hand or not fresh, any method but GET.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._date = (0, "")

    def takes(self, start_line: RequestStartLine, headers: HTTPHeaders) -> bool:
        """Whether the request is of a kind that may be served here."""
        return (
            start_line.method == "GET"
            and start_line.path in _PAGES
            and start_line.version == "HTTP/1.1"
            and "Content-Length" not in headers
            and "Transfer-Encoding" not in headers
            and _HOST.fullmatch(headers.get("Host", "")) is not None
        )

    def serve(
        self,
        connection: Connection,
        start_line: RequestStartLine,
        headers: HTTPHeaders,
    ) -> bool:
        """Answer the request if its page is at hand; False if it was declined."""
        began = time.perf_counter()
        desk = self._desk
        keeper = desk.service.keeper
        path = start_line.path
        resource = _PAGES[path]
        try:
            session = desk.sessions.read(bearer_token(headers.get("Authorization")))
            now = desk.clock()
            entry = keeper.at_hand(resource, session, now)
            if entry is None or (
                wants_fresh(headers.get("Cache-Control")) and keeper.too_old(entry, now)
            ):
                return False
            address = client_address(
                connection.context.remote_ip,
                headers.get_list("X-Forwarded-For"),
                desk.trusted_proxies,
            )
            desk.limits.by_address(address).check()
            quota = desk.limits.by_session(session)
            quota.check()
        except ApiError:
            return False
        variant = entry.value.variant(headers.get("Accept-Encoding"))
        status = 304 if matches(headers.get("If-None-Match"), variant) else 200
        identity = request_id(headers.get("X-Request-Id"))
        common = (
            *freshness_headers(entry, "HIT", now),
            *quota.headers(),
            *desk.cors.headers(headers.get("Origin")),
            ("X-Request-Id", identity),
            ("X-Content-Type-Options", "nosniff"),
            ("Date", self._today()),
            ("Server-Timing", server_timing(time.perf_counter() - began, "HIT")),
        )
        seconds = time.perf_counter() - began
        # Before the client can know of it (see BaseHandler.finish).
        desk.metrics.request_started()
        desk.metrics.lookup(resource, "HIT")
        desk.metrics.request_finished(resource, "GET", status, seconds)
        _send(connection, status, variant, common)
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
        return True

    def _today(self) -> str:
        """The ``Date`` header, put into words once a second."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, format_timestamp(second))
        return self._date[1]


def _send(
    connection: Connection,
    status: int,
    variant: Variant,
    headers: tuple[tuple[str, str], ...],
) -> None:
    """Write status line, headers and body in one piece."""
    own = variant.headers
    if status == 304:
        own = tuple(pair for pair in own if pair[0] in ("ETag", "Vary"))
    lines = [f"{name}: {value}\r\n" for name, value in (*own, *headers)]
    if connection.closes:
        lines.append("Connection: close\r\n")
    head = _STATUS_LINES[status] + "".join(lines).encode("latin-1") + b"\r\n"
    # The form of write() that takes a ready header block.
    connection.write(head + variant.body if status == 200 else head)
    connection.finish()
