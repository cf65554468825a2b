"""One client's connection: how its messages are framed, whether it is idle, and how it
ends so that nothing sent is lost.
"""

import asyncio
import logging
import re
import socket
import time
from typing import Any, Final

from tornado.http1connection import (
    HTTP1Connection,
    HTTP1ConnectionParameters,
    HTTP1ServerConnection,
)
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

__all__ = ["Connection", "Peer", "hang_up"]

_log = logging.getLogger(__name__)

# Who connects means to ask something: so long a new connection is not idle.
_FIRST_REQUEST_SECONDS: Final = 1.0
_LINGER_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = 64 * 1024
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class Peer:
    """What Tornado wants to know of a connection's other end."""

    protocol = "http"

    def __init__(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        inet = stream.socket.family in (socket.AF_INET, socket.AF_INET6)
        self.address = address
        self.remote_ip = str(address[0]) if inet and address else "0.0.0.0"

    def __str__(self) -> str:
        return self.remote_ip


class _Message(HTTP1Connection):
    """One request and its answer, with CRLF for line ends and nothing else."""

    arrived = False

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        self.arrived = True
        if _BARE_LF.search(data):
            # A proxy that reads lines otherwise would see other requests than we do.
            raise HTTPInputError("Bare LF in a header block")
        return super()._parse_headers(data)

    @property
    def closes(self) -> bool:
        return self._disconnect_on_finish

    def close_after_answer(self) -> None:
        if self._response_start_line is None and not self._write_finished:
            # Tornado's own mark: it adds the header, and closes when all is sent.
            self._disconnect_on_finish = True
            if self._request_headers is not None:
                self._request_headers["Connection"] = "close"

    def _can_keep_alive(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> bool:
        kept = super()._can_keep_alive(start_line, headers)
        if not kept:
            # Else Tornado would tell a client of HTTP/1.0 that the connection is kept.
            headers["Connection"] = "close"
        return kept

    def _finish_request(self, future: "asyncio.Future[None] | None") -> None:
        if self._disconnect_on_finish and _unread(self.stream):
            # A pipelined request: closing on it would reset the connection, and the
            # answer with it.
            self._clear_callbacks()
            hanging_up = asyncio.ensure_future(hang_up(self.stream))
            hanging_up.add_done_callback(super()._finish_request)
            return
        super()._finish_request(future)


class Connection(HTTP1ServerConnection):
    """As Tornado's, with our messages; knows whether it is idle."""

    _message: _Message | None = None

    def __init__(
        self, stream: IOStream, params: HTTP1ConnectionParameters, context: Peer
    ) -> None:
        super().__init__(stream, params, context)
        self._expected_until = time.monotonic() + _FIRST_REQUEST_SECONDS

    @property
    def idle(self) -> bool:
        """Whether no request is under way, has begun to come, or is expected."""
        return (
            self._message is not None
            and not self._message.arrived
            and self.stream.reading()  # or a request is on its way to the message
            and not _unread(self.stream)
            and time.monotonic() > self._expected_until
        )

    def close_after_answer(self) -> None:
        """End with the answer that is due, if one is, and say so in it."""
        if self._message is not None and self._message.arrived:
            self._message.close_after_answer()

    async def _server_request_loop(
        self, delegate: HTTPServerConnectionDelegate
    ) -> None:
        # Tornado 6.6.1's loop, but for the class of the message.
        try:
            while True:
                message = _Message(self.stream, False, self.params, self.context)
                self._message = message
                request = delegate.start_request(self, message)
                try:
                    kept = await message.read_response(request)
                except (
                    StreamClosedError,
                    UnsatisfiableReadError,
                    asyncio.CancelledError,
                ):
                    return
                except Exception:  # noqa: BLE001 - one connection's end, told and shut
                    _log.exception("Unexpected failure of a connection")
                    message.close()
                    return
                if not kept:
                    return
                self._expected_until = 0.0
                await asyncio.sleep(0)
        finally:
            delegate.on_close(self)


def _unread(stream: IOStream) -> bool:
    """Whether the client has sent more than was made use of."""
    if stream.closed():
        return False
    if stream._read_buffer_size:  # Tornado has no other word for it
        return True
    try:
        return bool(stream.socket.recv(1, socket.MSG_PEEK))
    except OSError:
        return False  # nothing there, or a reset


async def hang_up(stream: IOStream) -> None:
    """Close without a reset: say so first, and let the client read and go."""
    try:
        stream.socket.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER_SECONDS):
            while True:
                await stream.read_bytes(_CHUNK_BYTES, partial=True)
    except (StreamClosedError, UnsatisfiableReadError, TimeoutError, OSError):
        pass  # the client has gone or will not: closing is all that is left
    finally:
        stream.close()
