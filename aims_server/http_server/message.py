"""One request and its answer between Tornado's parser and its application, with the
strictness and the endings that are ours.
"""

import re
import socket
from typing import Any, Final

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine

__all__ = ["Message", "Peer"]

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class Peer:
    """What Tornado wants to know of a connection's other end."""

    protocol = "http"

    def __init__(self, family: int, address: Any) -> None:
        inet = family in (socket.AF_INET, socket.AF_INET6)
        self.address = address
        self.remote_ip = str(address[0]) if inet and address else "0.0.0.0"

    def __str__(self) -> str:
        return self.remote_ip


class Message(HTTP1Connection):
    """One request and its answer, with CRLF for line ends and nothing else."""

    arrived = False
    """Whether its header block is there."""

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        self.arrived = True
        if _BARE_LF.search(data):
            # A proxy that reads lines otherwise would see other requests than we do.
            raise HTTPInputError("Bare LF in a header block")
        return super()._parse_headers(data)

    def close_after_answer(self) -> None:
        """End the connection with this answer, if it can still be told so."""
        if self._response_start_line is None and not self._write_finished:
            # Tornado's own mark: it adds the header, and closes when all is sent.
            self._disconnect_on_finish = True
            if self._request_headers is not None:
                self._request_headers["Connection"] = "close"

    def client_left(self) -> None:
        """Tell whoever works for this client alone; the answer is sent all the same."""
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
