"""Composes the bytes of the fast path's answers."""

import time
from functools import lru_cache
from typing import Final

from tornado.httputil import format_timestamp

from ..web import AnswerParts, Response, Variant, header_lines, reason_phrase
from .exchange import Exchange
from .raw_request import RawRequest

__all__ = ["RawAnswers"]

_VARY: Final = "Vary: Origin\r\n"


class RawAnswers:
    """Composes answers just as Tornado would write a handler's."""

    def __init__(self) -> None:
        self._second = -1
        self._ends = ("", "")

    def variant(
        self, raw: RawRequest, status: int, variant: Variant, varying: str
    ) -> AnswerParts:
        """The answer with one form of a page. ``varying`` holds the header lines that
        differ from one answer to the next.
        """
        last = raw.last
        head = self._head(status, variant.lines(status) + varying, last=last)
        if raw.method == "HEAD" or status == 304:
            return (head,), last
        return (head, variant.body), last

    def whole(
        self, raw: RawRequest, exchange: Exchange, response: Response
    ) -> AnswerParts:
        """An answer made for this request alone; counts and logs it."""
        method, body = raw.method, response.body
        lines = (
            f"{header_lines(response.headers)}Content-Length: {len(body)}\r\n"
            f"{_VARY}{exchange.header_lines(raw.headers.get('origin'))}"
        )
        last = raw.last
        head = self._head(response.status, lines, last=last)
        exchange.answering(method, response.status)
        exchange.answered(method, raw.path, response.status)
        return ((head,) if method == "HEAD" else (head, body)), last

    def _head(self, status: int, lines: str, *, last: bool) -> bytes:
        """The status line to the empty line. With ``last`` the connection closes after
        this answer. Its last lines are made once a second.
        """
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = f"Date: {format_timestamp(second)}\r\n\r\n"
            self._ends = (date, f"Connection: close\r\n{date}")
        return f"{_status_line(status)}{lines}{self._ends[last]}".encode("latin-1")


@lru_cache(64)  # the platform may answer a login with any status
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n"
