"""The accepting side: an HTTP server that bounds its connections and their time-outs,
and that can be drained without cutting an answer short.
"""

import asyncio
import functools
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, Final, cast

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop

from ..errors import ApiError, Overloaded
from ..web import closing_message, request_id
from .address_limit import AddressLimit
from .closing import LINGER_SECONDS
from .connection import Connection
from .connection_counts import ConnectionCount
from .framing import DISCARD_BYTES
from .options import ConnectionOptions, Responder
from .peer import Peer
from .write_batch import WriteBatch

__all__ = ["Listener"]

_log = logging.getLogger(__name__)

# A request has to arrive whole within this many seconds, however slowly its bytes come,
# the next one on a kept connection has to begin, and some of an answer to be read.
ARRIVAL_SECONDS: Final = 10.0
_MAX_HEADER_BYTES: Final = 32 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_SWEEPS_PER_TIMEOUT: Final = 20  # connections are closed at most 1/20 of it late
_MAX_REFUSALS: Final = 32
_LOOKS_FOR_ROOM: Final = 32  # at connections of 1 us each, for one more
_MAX_EXCESS: Final = 2
_DEFER_SECONDS: Final = 0.002
_ACCEPT_ERROR_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.01


class Listener(HTTPServer):
    """Serves ``application`` on at most ``max_connections`` connections.

    ``fast_path`` gets the bytes of each request first. A connection past the bound
    takes the place of one whose client has owed a request for more than a moment. If
    there is none it is answered 503 and closed, as is one past ``address_limit``;
    ``on_refused`` is called for each of these. ``connection_count`` is compared with
    those of other listeners on the same sockets. ``on_rejected`` is told of each
    request that reaches no handler (`ConnectionOptions`).
    """

    def initialize(  # type: ignore[override]  # Tornado's Configurable: own arguments
        self,
        application: HTTPServerConnectionDelegate,
        *,
        max_connections: int,
        on_refused: Callable[[Peer], object],
        on_rejected: Callable[[ApiError, str, str], object] = lambda *_: None,
        fast_path: Responder | None = None,
        connection_count: ConnectionCount | None = None,
        address_limit: AddressLimit | None = None,
        arrival_seconds: float = ARRIVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the constructor's arguments (Tornado's Configurable calls this)."""
        super().initialize(
            application,
            max_header_size=_MAX_HEADER_BYTES,
            max_body_size=DISCARD_BYTES,
            chunk_size=_CHUNK_BYTES,
        )
        self.conn_params.header_timeout = None  # see close_timed_out
        write_batch = WriteBatch(lambda flush: IOLoop.current().add_callback(flush))
        self._options = ConnectionOptions(
            self.conn_params,
            fast_path,
            write_batch,
            arrival_seconds,
            on_rejected,
            clock,
        )
        self._max_connections = max_connections
        self._on_refused = on_refused
        self._connection_count = connection_count
        self._address_limit = address_limit
        # In the order in which they are looked at when a place is needed.
        self._open: OrderedDict[Connection, None] = OrderedDict()
        self._refusing: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[object]] = set()  # a loop holds them weakly

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    # -- accepting --------------------------------------------------------

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these, which other workers listen on as well."""
        if not self._sockets:
            self._sweep_timeouts()
        self._publish_count()
        for listening in sockets:
            self._sockets[listening.fileno()] = listening
            self._handlers[listening.fileno()] = functools.partial(
                IOLoop.current().remove_handler, listening
            )
            self._watch(listening)

    def accept_backlog(self) -> None:
        """Accept all that the kernel has queued: closing the socket resets them."""
        for listening in self._sockets.values():
            while self._accept(listening):
                pass

    def _watch(self, listening: socket.socket) -> None:
        if not self._stopped:
            IOLoop.current().add_handler(listening, self._on_readable, IOLoop.READ)

    def _on_readable(self, listening: socket.socket, _: int) -> None:
        """Accept a few connections; defer for a moment if other workers have fewer.

        The kernel wakes all workers, and those already running would accept nearly all.
        """
        count = self._connection_count
        if count is not None and count.excess > _MAX_EXCESS:
            IOLoop.current().remove_handler(listening)
            IOLoop.current().call_later(_DEFER_SECONDS, self._accept_left, listening)
        else:
            self._accept_few(listening)

    def _accept_left(self, listening: socket.socket) -> None:
        """Accept what no other worker took meanwhile."""
        if not self._stopped:
            self._accept_few(listening)
            self._watch(listening)

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
            # Out of files or memory: to try again at once would only burn the CPU.
            _log.warning(
                "Connections cannot be accepted: %s, with %d open; further ones wait,"
                " and it is tried again every %.1f s",
                error.strerror,
                len(self._open),
                _ACCEPT_ERROR_SECONDS,
            )
            IOLoop.current().remove_handler(listening)
            IOLoop.current().call_later(_ACCEPT_ERROR_SECONDS, self._watch, listening)
            return False
        connected.setblocking(False)
        peer = Peer.of(connected, address)
        if self._take_place(peer):
            self._serve(connected, peer)
        else:
            self._on_refused(peer)
            self._refuse(connected)
        return True

    def _take_place(self, peer: Peer) -> bool:
        """Whether there is a place for one more of this peer's connections."""
        limit = self._address_limit
        if limit is not None and not limit.try_take(peer):
            return False
        if len(self._open) < self._max_connections or self._make_room():
            return True
        if limit is not None:
            limit.release(peer)
        return False

    def _make_room(self) -> bool:
        """Close a connection that waits for its client; whether one was found.

        Otherwise a few addresses with connections on which they send nothing would
        refuse everybody else. Those that were accepted first are looked at first, and
        again after all others.
        """
        for connection in list(islice(self._open, _LOOKS_FOR_ROOM)):
            if connection.awaits_client:
                connection.abort()
                self.on_close(connection)
                return True
            self._open.move_to_end(connection)
        return False

    def _serve(self, connected: socket.socket, peer: Peer) -> None:
        """Have the event loop read from an accepted socket."""
        connection = Connection(self, self._options, connected, peer)
        self._open[connection] = None
        self._publish_count()
        self._start_task(self._connect(connection, connected))

    async def _connect(self, connection: Connection, connected: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, connected)
        except OSError:  # it was reset meanwhile
            connected.close()
            self.on_close(connection)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection that has ended."""
        connection = cast(Connection, server_conn)
        if connection not in self._open:
            return
        del self._open[connection]
        self._publish_count()
        if self._address_limit is not None:
            self._address_limit.release(connection.peer)

    def _publish_count(self) -> None:
        if self._connection_count is not None and not self._stopped:
            self._connection_count.publish(len(self._open))

    # -- refusing ---------------------------------------------------------

    def _refuse(self, connected: socket.socket) -> None:
        if len(self._refusing) < _MAX_REFUSALS:
            self._refusing.add(connected)
            self._start_task(self._send_overloaded(connected))
        else:
            connected.close()  # without an answer: they must not pile up

    async def _send_overloaded(self, connected: socket.socket) -> None:
        """Answer 503 and close, leaving the client a moment to read it."""
        loop = asyncio.get_running_loop()
        try:
            connected.send(closing_message(Overloaded(), request_id(None)))
            connected.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LINGER_SECONDS):
                # To close with its request unread would reset what was written.
                while await loop.sock_recv(connected, _CHUNK_BYTES):
                    pass
        except OSError:
            pass  # reset by the client, or the time is over
        finally:
            self._refusing.discard(connected)
            connected.close()

    def _start_task(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- draining ---------------------------------------------------------

    def stop(self) -> None:
        """Accept no connection any more."""
        super().stop()
        if self._connection_count is not None:
            self._connection_count.withdraw()

    def disable_keep_alive(self) -> None:
        """From now on every answer says ``Connection: close`` and means it."""
        self.conn_params.no_keep_alive = True
        for connection in self._open:
            connection.close_after_answer()

    async def drained(self, idle_seconds: float = 0.0) -> None:
        """Wait until the last connection is closed.

        Requests are answered and answers sent; idle connections are closed from here
        after ``idle_seconds``.
        """
        end = time.monotonic() + idle_seconds
        while self._open:
            if time.monotonic() >= end:
                for connection in self._open:
                    if connection.idle:
                        connection.close()
            await asyncio.sleep(_POLL_SECONDS)

    async def close_all_connections(self) -> None:
        """Abort the connections that are left."""
        while self._open:
            for connection in self._open:
                connection.abort()
            await asyncio.sleep(0)

    def close_timed_out(self) -> None:
        """Close connections past their time-out, all in one sweep: a timer for each
        would be set and cancelled with every request.
        """
        now = self._options.clock()
        for connection in list(self._open):
            connection.close_if_timed_out(now)

    def _sweep_timeouts(self) -> None:
        self.close_timed_out()
        if self._open or not self._stopped:
            IOLoop.current().call_later(
                self._options.arrival_seconds / _SWEEPS_PER_TIMEOUT,
                self._sweep_timeouts,
            )
