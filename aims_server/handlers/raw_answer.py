"""The bytes of answers that are written without Tornado."""

import time
from functools import lru_cache
from typing import Final

from tornado.httputil import format_timestamp

from ..web import AnswerParts, Response, Variant, header_lines, reason_phrase
from .asked import Asked
from .exchange import Exchange

__all__ = ["RawAnswers"]

_VARY: Final = "Vary: Origin\r\n"


class RawAnswers:
    """Puts answers together, as Tornado would write those of a handler."""

    def __init__(self) -> None:
        self._second = -1
        self._ends = ("", "")

    def variant(
        self, asked: Asked, status: int, variant: Variant, varying: str
    ) -> AnswerParts:
        """The form of a page that a request gets; ``varying`` are the lines of headers
        that differ from one answer to the next.
        """
        last = asked.last
        head = self._head(status, variant.lines(status) + varying, last=last)
        if asked.request[0] == "HEAD" or status == 304:
            return (head,), last
        return (head, variant.body), last

    def whole(
        self, asked: Asked, exchange: Exchange, response: Response
    ) -> AnswerParts:
        """An answer that is composed for this request alone, which ends with it."""
        method, path, headers, _ = asked.request
        lines = (
            f"{header_lines(response.headers)}Content-Length: {len(response.body)}\r\n"
            f"{_VARY}{exchange.header_lines(headers.get('origin'))}"
        )
        last = asked.last
        head = self._head(response.status, lines, last=last)
        exchange.answering(method, response.status)
        exchange.answered(method, path, response.status)
        return ((head,) if method == "HEAD" else (head, response.body)), last

    def _head(self, status: int, lines: str, *, last: bool) -> bytes:
        """From the status line to the empty one; ``last`` says that the connection
        closes after this answer. Its last lines are made once a second.
        """
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = f"Date: {format_timestamp(second)}\r\n\r\n"
            self._ends = (date, f"Connection: close\r\n{date}")
        return f"{_status_line(status)}{lines}{self._ends[last]}".encode("latin-1")


@lru_cache(64)  # a few are nearly all, though the platform may choose any
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n"
