"""Owns the accepting side: an HTTP server that bounds its connections, their waiting
times and their framing, and that can be emptied without cutting an answer short.
"""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, Final

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPServerConnectionDelegate,
)
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from .errors import Overloaded, error_body
from .handlers.door import DISCARD_BYTES
from .requests import request_id

__all__ = ["Listener"]

# For a header block, a body and the next request on a kept connection: each has to
# arrive whole within this many seconds, however it trickles.
ARRIVAL_SECONDS: Final = 10.0
_MAX_HEADER_BYTES: Final = 32 * 1024
_LINGER_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.01
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class Listener(HTTPServer):
    """Serves what stands behind ``front`` on at most ``max_connections`` connections.

    One more is told 503 and closed; ``on_refused`` is called for each.
    """

    def initialize(  # type: ignore[override]  # Tornado's Configurable: own arguments
        self,
        front: HTTPServerConnectionDelegate,
        *,
        max_connections: int,
        on_refused: Callable[[], object],
        arrival_seconds: float = ARRIVAL_SECONDS,
    ) -> None:
        """Take the constructor's arguments (Tornado's Configurable calls this)."""
        super().initialize(
            front,
            idle_connection_timeout=arrival_seconds,
            body_timeout=arrival_seconds,
            max_header_size=_MAX_HEADER_BYTES,
            max_body_size=DISCARD_BYTES,
            chunk_size=64 * 1024,
        )
        self._max_connections = max_connections
        self._on_refused = on_refused
        self._refusals: set[asyncio.Task[None]] = set()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve an accepted connection, or refuse it."""
        if len(self._connections) >= self._max_connections:
            self._on_refused()
            refusal = asyncio.ensure_future(_refuse(stream))
            self._refusals.add(refusal)
            refusal.add_done_callback(self._refusals.discard)
            return
        connection = _Connection(stream, self.conn_params, _Peer(stream, address))
        self._connections.add(connection)
        connection.start_serving(self)

    def last_answers(self) -> None:
        """From now on every answer says ``Connection: close`` and means it."""
        self.conn_params.no_keep_alive = True
        for connection in self._served():
            connection.close_after_answer()

    def close_idle(self) -> None:
        """Close the connections on which no request is under way."""
        for connection in self._served():
            if connection.idle:
                connection.stream.close()

    async def emptied(self) -> None:
        """Wait until every request that has arrived is answered and sent."""
        while True:  # Tornado tells nobody when it is done
            if all(c.idle and not c.stream.writing() for c in self._served()):
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _served(self) -> "list[_Connection]":
        return [c for c in self._connections if isinstance(c, _Connection)]


class _Peer:
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
        # Tornado's own mark: it then adds the header and closes when all is sent.
        self._disconnect_on_finish = True


class _Connection(HTTP1ServerConnection):
    """As Tornado's, with our messages; knows whether it is idle."""

    _message: _Message | None = None

    @property
    def idle(self) -> bool:
        return self._message is None or not self._message.arrived

    def close_after_answer(self) -> None:
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
                if not kept:
                    return
                await asyncio.sleep(0)
        finally:
            delegate.on_close(self)


async def _refuse(stream: IOStream) -> None:
    """Say 503 and close, leaving the client a moment to read it."""
    body = error_body(Overloaded(), request_id(None))
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
    )
    try:
        # At once and past the stream, which would close on the client's end of file
        # with the request still unread, and so reset what was written.
        stream.socket.send(head.encode() + body)
        stream.socket.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER_SECONDS):
            await stream.read_until_close()
    except (StreamClosedError, UnsatisfiableReadError, TimeoutError, OSError):
        pass  # the client has gone or will not: closing is all that is left
    finally:
        stream.close()
