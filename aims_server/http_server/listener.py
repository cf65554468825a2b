"""An HTTP server with bounded connections and time-outs, which can be drained without
cutting an answer short.
"""

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from tornado.http1connection import HTTP1ConnectionParameters
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop

from ..errors import ApiError
from ..web import MAX_BODY_BYTES
from .acceptor import Acceptor
from .address_limit import AddressLimit
from .connection import Connection
from .connection_counts import ConnectionCount
from .options import ConnectionOptions, Responder
from .peer import Peer
from .refusals import Refusals
from .write_batch import WriteBatch

__all__ = ["ARRIVAL_SECONDS", "Listener"]

# Within so many seconds a whole request has to arrive, the next one on an open
# connection has to begin, and some of an answer has to be read.
ARRIVAL_SECONDS: Final = 10.0
_MAX_HEADER_BYTES: Final = 32 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_SWEEPS_PER_TIMEOUT: Final = 20  # connections are closed at most 1/20 of it late
_LOOKS_FOR_ROOM: Final = 32  # connections looked at for a place, 1 us each
_POLL_SECONDS: Final = 0.01


class Listener:
    """Serves ``application`` on at most ``max_connections`` connections.

    ``fast_path`` gets each simple request first. A connection above the bound takes the
    place of one that has waited for its client for more than a moment. If there is none
    it is answered 503 and closed, like one above ``address_limit``; ``on_refused`` is
    called for each of these. ``connection_count`` is compared with those of other
    listeners on the same sockets. ``reject`` answers requests that reach no handler
    (`ConnectionOptions`).
    """

    def __init__(
        self,
        application: HTTPServerConnectionDelegate,
        *,
        max_connections: int,
        connection_count: ConnectionCount,
        address_limit: AddressLimit,
        on_refused: Callable[[Peer], object],
        reject: Callable[[ApiError, str, bytes], bytes],
        fast_path: Responder | None = None,
        arrival_seconds: float = ARRIVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = ConnectionOptions(
            application=application,
            params=HTTP1ConnectionParameters(
                # Without a header_timeout: see close_timed_out.
                max_header_size=_MAX_HEADER_BYTES,
                max_body_size=MAX_BODY_BYTES,
                chunk_size=_CHUNK_BYTES,
            ),
            fast_path=fast_path,
            write_batch=WriteBatch(lambda flush: IOLoop.current().add_callback(flush)),
            arrival_seconds=arrival_seconds,
            reject=reject,
            clock=clock,
        )
        self._max_connections = max_connections
        self._on_refused = on_refused
        self._address_limit = address_limit
        self._acceptor = Acceptor(self._on_accepted, connection_count)
        self._refusals = Refusals()
        # In the order in which they are looked at for a place.
        self._open: OrderedDict[Connection, None] = OrderedDict()
        self._connecting: set[asyncio.Task[None]] = set()  # a loop holds them weakly

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    # -- accepting --------------------------------------------------------

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these, which other workers listen on as well."""
        sweeping = self._acceptor.listening
        self._acceptor.add_sockets(sockets)
        if not sweeping:
            self._sweep_timeouts()

    def accept_backlog(self) -> None:
        """Accept all queued connections, which closing the socket would reset."""
        self._acceptor.accept_backlog()

    def _on_accepted(self, connected: socket.socket, address: Any) -> None:
        peer = Peer.of(connected, address)
        if self._take_place(peer):
            self._serve(connected, peer)
        else:
            self._on_refused(peer)
            self._refusals.refuse(connected)

    def _take_place(self, peer: Peer) -> bool:
        """Take a place for one more connection of this peer; False if there is none."""
        if not self._address_limit.try_take(peer):
            return False
        if len(self._open) < self._max_connections or self._make_room():
            return True
        self._address_limit.release(peer)
        return False

    def _make_room(self) -> bool:
        """Close a connection that waits for its client; return whether one was found.

        Otherwise a few addresses with silent connections could shut everybody else out.
        The search goes from the connection accepted first to the last, and round again.
        """
        for connection in list(islice(self._open, _LOOKS_FOR_ROOM)):
            if connection.awaits_client:
                connection.abort()
                self._on_closed(connection)
                return True
            self._open.move_to_end(connection)
        return False

    def _serve(self, connected: socket.socket, peer: Peer) -> None:
        """Begin to read from an accepted socket."""
        connection = Connection(self._options, connected, peer, self._on_closed)
        self._open[connection] = None
        self._acceptor.set_open(len(self._open))
        task = asyncio.create_task(self._connect(connection, connected))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: Connection, connected: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, connected)
        except OSError:  # it was reset meanwhile
            connected.close()
            self._on_closed(connection)

    def _on_closed(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._acceptor.set_open(len(self._open))
        self._address_limit.release(connection.peer)

    # -- draining ---------------------------------------------------------

    def stop(self) -> None:
        """Accept no more connections."""
        self._acceptor.stop()

    def disable_keep_alive(self) -> None:
        """From now on every answer says ``Connection: close`` and means it."""
        self._options.params.no_keep_alive = True
        for connection in self._open:
            connection.close_after_answer()

    async def drained(self) -> None:
        """Close idle connections, and wait until the others have ended, too."""
        while self._open:
            for connection in self._open:
                if connection.idle:
                    connection.close()
            await asyncio.sleep(_POLL_SECONDS)

    async def close_all_connections(self) -> None:
        """Abort the remaining connections."""
        while self._open:
            for connection in self._open:
                connection.abort()
            await asyncio.sleep(0)

    # -- time-outs --------------------------------------------------------

    def close_timed_out(self) -> None:
        """Close all connections past their time-outs in one sweep. A timer for each
        would be set and cancelled with every request.
        """
        now = self._options.clock()
        for connection in list(self._open):
            connection.close_if_timed_out(now)

    def _sweep_timeouts(self) -> None:
        self.close_timed_out()
        if self._open or self._acceptor.listening:
            IOLoop.current().call_later(
                self._options.arrival_seconds / _SWEEPS_PER_TIMEOUT,
                self._sweep_timeouts,
            )
