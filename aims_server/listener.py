"""Owns the accepting side: an HTTP server that bounds its connections and their waiting
times, and that can be emptied without cutting an answer short.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from .connection import Connection, Peer, hang_up
from .errors import Overloaded, error_body
from .handlers.door import DISCARD_BYTES
from .requests import request_id

__all__ = ["Listener"]

_log = logging.getLogger(__name__)

# For a header block, a body and the next request on a kept connection: each has to
# arrive whole within this many seconds, however it trickles.
ARRIVAL_SECONDS: Final = 10.0
_MAX_HEADER_BYTES: Final = 32 * 1024
_MOST_REFUSALS: Final = 32
_PAUSE_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.01


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

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these, which other workers listen on as well."""
        for listening in sockets:
            self._sockets[listening.fileno()] = listening
            self._handlers[listening.fileno()] = functools.partial(
                IOLoop.current().remove_handler, listening
            )
            self._attend(listening)

    def accept_waiting(self) -> None:
        """Accept whoever is in the queue; they would be reset when it is closed."""
        for listening in self._sockets.values():
            while self._accept(listening):
                pass

    def _attend(self, listening: socket.socket) -> None:
        if not self._stopped:
            IOLoop.current().add_handler(listening, self._accept_some, IOLoop.READ)

    def _accept_some(self, listening: socket.socket, _: int) -> None:
        """Accept few at a time, or the first worker to wake would take them all."""
        for _ in range(1 + len(self._connections) // 8):
            if not self._accept(listening):
                return

    def _accept(self, listening: socket.socket) -> bool:
        """Accept one connection; whether it makes sense to try another."""
        try:
            connection, address = listening.accept()
        except BlockingIOError:
            return False  # another worker was faster
        except ConnectionAbortedError:
            return True
        except OSError as error:
            # Out of files, or of memory: to try at once would only burn the CPU.
            _log.warning("Connections cannot be accepted: %s", error.strerror)
            IOLoop.current().remove_handler(listening)
            IOLoop.current().call_later(_PAUSE_SECONDS, self._attend, listening)
            return False
        stream = IOStream(
            connection,
            max_buffer_size=self.max_buffer_size,
            read_chunk_size=self.read_chunk_size,
        )
        self.handle_stream(stream, address)
        return True

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve an accepted connection, or refuse it."""
        if len(self._connections) < self._max_connections:
            connection = Connection(stream, self.conn_params, Peer(stream, address))
            self._connections.add(connection)
            connection.start_serving(self)
            return
        self._on_refused()
        if len(self._refusals) >= _MOST_REFUSALS:
            stream.close()  # no time for courtesies
            return
        refusal = asyncio.ensure_future(_refuse(stream))
        self._refusals.add(refusal)
        refusal.add_done_callback(self._refusals.discard)

    def last_answers(self) -> None:
        """From now on every answer says ``Connection: close`` and means it."""
        self.conn_params.no_keep_alive = True
        for connection in self._served():
            connection.close_after_answer()

    async def emptied(self, patience: float = 0.0) -> None:
        """Wait until the last connection is closed.

        Requests are answered, answers are sent; after ``patience`` seconds connections
        without either are closed from here.
        """
        end = time.monotonic() + patience
        while self._connections:
            if time.monotonic() >= end:
                for connection in self._served():
                    if connection.idle:
                        connection.stream.close()
            await asyncio.sleep(_POLL_SECONDS)  # Tornado tells nobody when it is done

    def _served(self) -> list[Connection]:
        return [c for c in self._connections if isinstance(c, Connection)]


async def _refuse(stream: IOStream) -> None:
    """Say 503 and close, leaving the client a moment to read it."""
    body = error_body(Overloaded(), request_id(None))
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        # At once and past the stream, which would close on the client's end of file
        # with the request still unread, and so reset what was written.
        stream.socket.send(head.encode() + body)
    await hang_up(stream)
