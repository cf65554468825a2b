"""The heads of answers that are written without Tornado."""

import time
from functools import lru_cache

from tornado.httputil import format_timestamp

from ..deadline import Clock
from ..web import reason_phrase

__all__ = ["RawHeads"]


@lru_cache(64)  # a few are nearly all, though the platform may choose any
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {reason_phrase(status)}\r\n"


class RawHeads:
    r"""Puts a head together; its last lines are made once a second.

    >>> RawHeads(lambda: 0.0).make(204, "Allow: GET\r\n", last=True)
    b'HTTP/1.1 204 No Content\r\nAllow: GET\r\nConnection: close\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n'
    """  # noqa: E501 - the head is one line

    def __init__(self, wall: Clock = time.time) -> None:
        self._wall = wall
        self._second = -1
        self._ends = ("", "")

    def make(self, status: int, lines: str, *, last: bool) -> bytes:
        """From the status line to the empty one; ``last`` says that the connection
        closes after this answer.
        """
        second = int(self._wall())
        if second != self._second:
            self._second = second
            date = f"Date: {format_timestamp(second)}\r\n\r\n"
            self._ends = (date, f"Connection: close\r\n{date}")
        return f"{_status_line(status)}{lines}{self._ends[last]}".encode("latin-1")
