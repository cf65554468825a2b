"""Accepts connections on sockets that other workers listen on as well."""

import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from tornado.ioloop import IOLoop

from .connection_counts import ConnectionCount

__all__ = ["Acceptor"]

_log = logging.getLogger(__name__)

_MAX_EXCESS: Final = 2
_DEFER_SECONDS: Final = 0.002
_ERROR_SECONDS: Final = 0.5
# Linux queues no more (net.core.somaxconn). Without a bound, clients that connect as
# fast as they are accepted would hold the loop.
_MAX_QUEUED: Final = 4096


class Acceptor:
    """Calls ``on_accepted`` with each accepted socket and its peer's address.

    A worker whose ``count`` of open connections is above another worker's leaves the
    next connection to that one for a moment.
    """

    def __init__(
        self,
        on_accepted: Callable[[socket.socket, Any], object],
        count: ConnectionCount,
    ) -> None:
        self._on_accepted = on_accepted
        self._count = count
        self._open = 0
        self._failing = False
        self._listening: list[socket.socket] = []

    @property
    def listening(self) -> bool:
        """Whether there are sockets to accept on."""
        return bool(self._listening)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets from now on."""
        self._count.publish(self._open)
        for listening in sockets:
            self._listening.append(listening)
            self._watch(listening)

    def accept_backlog(self) -> None:
        """Accept all queued connections, which closing the socket would reset."""
        for listening in self._listening:
            for _ in range(_MAX_QUEUED):
                if not self._accept(listening):
                    break

    def stop(self) -> None:
        """Close the sockets, and withdraw the count."""
        self._count.withdraw()
        while self._listening:
            listening = self._listening.pop()
            IOLoop.current().remove_handler(listening)
            listening.close()

    def set_open(self, number: int) -> None:
        """Set the number of open connections; call it at every change."""
        self._open = number
        if self.listening:
            self._count.publish(number)

    def _watch(self, listening: socket.socket) -> None:
        if listening in self._listening:
            IOLoop.current().add_handler(listening, self._on_readable, IOLoop.READ)

    def _on_readable(self, listening: socket.socket, _: int) -> None:
        """Accept a few connections; wait a moment if other workers have fewer open.

        The kernel wakes all workers, and those already running would accept nearly all.
        """
        if self._count.excess > _MAX_EXCESS:
            IOLoop.current().remove_handler(listening)
            IOLoop.current().call_later(_DEFER_SECONDS, self._accept_left, listening)
        else:
            self._accept_few(listening)

    def _accept_left(self, listening: socket.socket) -> None:
        """Accept what no other worker has accepted meanwhile."""
        if listening in self._listening:
            self._watch(listening)  # before an error may stop that for a while
            self._accept_few(listening)

    def _accept_few(self, listening: socket.socket) -> None:
        for _ in range(1 + self._open // 8):
            if not self._accept(listening):
                return

    def _accept(self, listening: socket.socket) -> bool:
        """Accept one connection; return whether to try another."""
        try:
            connected, address = listening.accept()
        except BlockingIOError:
            return False  # another worker was faster
        except ConnectionAbortedError:
            return True
        except OSError as error:
            # Out of files or memory: trying again at once would only use CPU.
            if not self._failing:
                _log.warning(
                    "Connections cannot be accepted: %s, with %d open; further ones"
                    " wait, and it is tried again every %.1f s",
                    error.strerror,
                    self._open,
                    _ERROR_SECONDS,
                )
            self._failing = True
            IOLoop.current().remove_handler(listening)
            IOLoop.current().call_later(_ERROR_SECONDS, self._watch, listening)
            return False
        self._failing = False
        connected.setblocking(False)
        self._on_accepted(connected, address)
        return True
