"""One request and its answer between Tornado's parser and its application, with
stricter line ends and our own ways for a connection to end.
"""

import re
import socket
from typing import Any, Final

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine

__all__ = ["Message", "Peer"]

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class Peer:
    """The other end of a connection, in the form that Tornado expects.

    >>> str(Peer(socket.AF_INET, ("203.0.113.7", 50000)))
    '203.0.113.7'
    """

    protocol = "http"

    def __init__(self, family: int, address: Any) -> None:
        inet = family in (socket.AF_INET, socket.AF_INET6)
        self.address = address
        self.remote_ip = str(address[0]) if inet and address else "0.0.0.0"

    def __str__(self) -> str:
        return self.remote_ip


class Message(HTTP1Connection):
    """One request and its answer; lines of the head end in CRLF and in nothing else."""

    head_received = False

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        self.head_received = True
        if _BARE_LF.search(data):
            # A proxy that splits lines otherwise would see other requests than we do.
            raise HTTPInputError("Bare LF in a header block")
        return super()._parse_headers(data)

    def close_after_answer(self) -> None:
        """End the connection with this answer, unless its head is written already."""
        if self._response_start_line is None and not self._write_finished:
            # Tornado's own flag: it adds the header, and closes when all is sent.
            self._disconnect_on_finish = True
            if self._request_headers is not None:
                self._request_headers["Connection"] = "close"

    def client_half_closed(self) -> None:
        """Tell the handler, which may stop working; its answer is sent all the same."""
        callback, self._close_callback = self._close_callback, None
        if callback is not None:
            callback()

    def _can_keep_alive(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> bool:
        kept = super()._can_keep_alive(start_line, headers)
        if not kept:
            # Else Tornado would tell a client of HTTP/1.0 that the connection is kept.
            headers["Connection"] = "close"
        return kept
