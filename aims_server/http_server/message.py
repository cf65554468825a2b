"""One request and its answer between Tornado's parser and its application, with
stricter line ends and our own ways for a connection to end.
"""

import re
import socket
from asyncio import Future
from typing import Any, Final

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    RequestStartLine,
    ResponseStartLine,
)

from ..web import UNIX_PEER
from .iostream import PIECE_BYTES

__all__ = ["Message", "Peer"]

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class Peer:
    """The other end of a connection, in the form that Tornado expects.

    >>> str(Peer("203.0.113.7", same_machine=False))
    '203.0.113.7'
    """

    protocol = "http"

    def __init__(self, remote_ip: str, *, same_machine: bool) -> None:
        self.remote_ip = remote_ip
        self.same_machine = same_machine

    @classmethod
    def of(cls, connected: socket.socket, address: Any) -> "Peer":
        """That of an accepted socket and the address that came with it."""
        if connected.family == socket.AF_UNIX:
            return cls(UNIX_PEER, same_machine=True)
        remote_ip, own = str(address[0]), connected.getsockname()[0]
        return cls(
            remote_ip, same_machine=remote_ip == own or remote_ip.startswith("127.")
        )

    def __str__(self) -> str:
        return self.remote_ip


class Message(HTTP1Connection):
    """One request and its answer; lines of the head end in CRLF and in nothing else."""

    head_received = False

    @property
    def received(self) -> bool:
        """Whether the whole request is there, with its body."""
        return self._read_finished

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        self.head_received = True
        if _BARE_LF.search(data):
            # A proxy that splits lines otherwise would see other requests than we do.
            raise HTTPInputError("Bare LF in a header block")
        return super()._parse_headers(data)

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "Future[None]":
        """Begin the answer; a large body goes apart, since Tornado would copy it."""
        if chunk is None or len(chunk) <= PIECE_BYTES:
            return super().write_headers(start_line, headers, chunk)
        super().write_headers(start_line, headers)
        return self.write(chunk)

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
