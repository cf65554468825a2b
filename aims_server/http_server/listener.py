"""Owns the accepting side: an HTTP server that bounds its connections and their waiting
times, and that can be emptied without cutting an answer short.
"""

import asyncio
import functools
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, cast

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop

from ..errors import Overloaded
from ..web import closing_message, request_id
from .connection import (
    LINGER_SECONDS,
    Connection,
    Lane,
    Terms,
)
from .connection_counts import ConnectionCount
from .framing import DISCARD_BYTES
from .write_batch import WriteBatch

__all__ = ["Listener"]

_log = logging.getLogger(__name__)

# For a header block, a body and the next request on a kept connection: each has to
# arrive whole within this many seconds, however it trickles.
ARRIVAL_SECONDS: Final = 10.0
_MAX_HEADER_BYTES: Final = 32 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_LOOKS: Final = 20  # in that time: who is late is late by a twentieth of it at most
_MOST_REFUSALS: Final = 32
_MOST_EXCESS: Final = 2
_DEFER_SECONDS: Final = 0.002
_PAUSE_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.01


class Listener(HTTPServer):
    """Serves what stands behind ``front`` on at most ``max_connections`` connections.

    ``lane`` is asked first, with the bytes of each request. One connection more is told
    503 and closed; ``on_refused`` is called for each. ``load`` tells how many there are
    to other listeners on the same sockets, and how many those have.
    """

    def initialize(  # type: ignore[override]  # Tornado's Configurable: own arguments
        self,
        front: HTTPServerConnectionDelegate,
        *,
        max_connections: int,
        on_refused: Callable[[], object],
        lane: Lane | None = None,
        load: ConnectionCount | None = None,
        arrival_seconds: float = ARRIVAL_SECONDS,
    ) -> None:
        """Take the constructor's arguments (Tornado's Configurable calls this)."""
        super().initialize(
            front,
            body_timeout=arrival_seconds,
            max_header_size=_MAX_HEADER_BYTES,
            max_body_size=DISCARD_BYTES,
            chunk_size=_CHUNK_BYTES,
        )
        self.conn_params.header_timeout = None  # see _look_for_overdue
        write_batch = WriteBatch(lambda send: IOLoop.current().add_callback(send))
        self._terms = Terms(self.conn_params, lane, write_batch, arrival_seconds)
        self._max_connections = max_connections
        self._on_refused = on_refused
        self._load = load
        self._open: set[Connection] = set()
        self._refusing: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[object]] = set()  # a loop holds them weakly

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these, which other workers listen on as well."""
        if not self._sockets:
            self._look_for_overdue()
        self._tell_load()
        for listening in sockets:
            self._sockets[listening.fileno()] = listening
            self._handlers[listening.fileno()] = functools.partial(
                IOLoop.current().remove_handler, listening
            )
            self._attend(listening)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def accept_waiting(self) -> None:
        """Accept whoever is in the queue; they would be reset when it is closed."""
        for listening in self._sockets.values():
            while self._accept(listening):
                pass

    def _attend(self, listening: socket.socket) -> None:
        if not self._stopped:
            IOLoop.current().add_handler(listening, self._accept_some, IOLoop.READ)

    def _accept_some(self, listening: socket.socket, _: int) -> None:
        """Accept a few connections, unless others have fewer: they get the first go.

        The kernel wakes everybody, and who is awake already would take nearly all.
        """
        if self._load is not None and self._load.excess > _MOST_EXCESS:
            IOLoop.current().remove_handler(listening)
            IOLoop.current().call_later(_DEFER_SECONDS, self._insist, listening)
        else:
            self._accept_few(listening)

    def _insist(self, listening: socket.socket) -> None:
        """Accept those whom nobody else has taken."""
        if not self._stopped:
            self._accept_few(listening)
            self._attend(listening)

    def _accept_few(self, listening: socket.socket) -> None:
        for _ in range(1 + len(self._open) // 8):
            if not self._accept(listening):
                return

    def _accept(self, listening: socket.socket) -> bool:
        """Accept one connection; whether it makes sense to try another."""
        try:
            connected, address = listening.accept()
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
        connected.setblocking(False)
        if len(self._open) < self._max_connections:
            self._serve(connected, address)
        else:
            self._on_refused()
            self._refuse(connected)
        return True

    def _serve(self, connected: socket.socket, address: Any) -> None:
        """Have the event loop read from an accepted socket."""
        connection = Connection(self, self._terms, connected, address)
        self._open.add(connection)
        self._tell_load()
        self._begin(self._connect(connection, connected))

    async def _connect(self, connection: Connection, connected: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, connected)
        except OSError:  # it was reset meanwhile
            connected.close()
            self.on_close(connection)

    def _refuse(self, connected: socket.socket) -> None:
        if len(self._refusing) < _MOST_REFUSALS:
            self._refusing.add(connected)
            self._begin(self._say_no(connected))
        else:
            connected.close()  # no time for courtesies

    async def _say_no(self, connected: socket.socket) -> None:
        """Say 503 and close, leaving the client a moment to read it."""
        loop = asyncio.get_running_loop()
        try:
            connected.send(closing_message(Overloaded(), request_id(None)))
            connected.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LINGER_SECONDS):
                # To close with its request unread would reset what was written.
                while await loop.sock_recv(connected, _CHUNK_BYTES):
                    pass
        except OSError:
            pass  # it has gone, or will not
        finally:
            self._refusing.discard(connected)
            connected.close()

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection that has ended."""
        self._open.discard(cast(Connection, server_conn))
        self._tell_load()

    def stop(self) -> None:
        """Accept nobody any more."""
        super().stop()
        if self._load is not None:
            self._load.leave()

    def _tell_load(self) -> None:
        if self._load is not None and not self._stopped:
            self._load.tell(len(self._open))

    def last_answers(self) -> None:
        """From now on every answer says ``Connection: close`` and means it."""
        self.conn_params.no_keep_alive = True
        for connection in self._open:
            connection.close_after_answer()

    async def emptied(self, patience: float = 0.0) -> None:
        """Wait until the last connection is closed.

        Requests are answered, answers are sent; after ``patience`` seconds connections
        without either are closed from here.
        """
        end = time.monotonic() + patience
        while self._open:
            if time.monotonic() >= end:
                for connection in self._open:
                    if connection.idle:
                        connection.close()
            await asyncio.sleep(_POLL_SECONDS)

    async def close_all_connections(self) -> None:
        """Cut off whoever is left."""
        while self._open:
            for connection in self._open:
                connection.abort()
            await asyncio.sleep(0)

    def _look_for_overdue(self) -> None:
        """Close connections whose request does not come, all in one look: a timer for
        each would be set and cancelled with every request.
        """
        now = time.monotonic()
        for connection in list(self._open):
            connection.close_if_overdue(now)
        if self._open or not self._stopped:
            IOLoop.current().call_later(
                self._terms.arrival_seconds / _LOOKS, self._look_for_overdue
            )
