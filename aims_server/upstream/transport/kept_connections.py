"""Idle connections to the platform, and whether one may still carry a call.

HTTP/1.1 has no names for its answers: whatever arrives on a connection is taken for the
answer to the request sent last. An answer that the platform sends twice, or too late,
would so become that of the next student.
"""

import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Hashable
from typing import Final

__all__ = ["KeptConnections", "is_acknowledged", "is_silent"]

_NONE: Final = bytes(4)  # the kernel's int for no byte
# To write to: given bytes, `fcntl.ioctl` raises and drops two exceptions, 0.3 us more.
_answer: Final = bytearray(_NONE)
# Of the kernel's, for how long no data has come, in milliseconds.
_TCP_INFO: Final = struct.Struct("=52xI")
_MULTIPLEXED: Final = -1
_ABANDONED: Final = -2


class KeptConnections:
    """The sockets of connections that have served a call, by the ends' addresses.

    >>> import socket
    >>> ours, theirs = socket.socketpair()
    >>> kept = KeptConnections()
    >>> kept.add("a", ours.fileno(), multiplexed=False)
    >>> is_silent(kept.socket_of("a"))
    True
    >>> theirs.send(b"HTTP/1.1 408 Request Timeout")
    28
    >>> is_silent(kept.socket_of("a"))
    False
    >>> kept.socket_of("b") is None
    True
    >>> ours.close(), theirs.close()
    (None, None)
    """

    def __init__(self) -> None:
        self.multiplexed: bool | None = None
        """Whether calls may share a connection, as the last new one was told; None
        before anything has been answered.
        """

        self._sockets: dict[Hashable, int] = {}
        self._connections: dict[int, Hashable] = {}

    def socket_of(self, connection: Hashable) -> int | None:
        """The socket to look at before a call goes out; None for a new connection."""
        return self._sockets.get(connection)

    def open(self, connection: Hashable, fd: int) -> None:
        """A call goes out on this new connection, whose socket is ``fd``."""
        known = self._connections.get(fd)
        if known != connection:
            # Curl tells of no closed socket: its number comes back for another
            # connection, and its port, maybe, on another number.
            self._sockets.pop(known, None)
            numbers = self._connections.items()
            self._connections = {n: had for n, had in numbers if had != connection}
            self._connections[fd] = connection

    def add(self, connection: Hashable, fd: int, *, multiplexed: bool) -> None:
        """A call is answered on this new connection, whose socket is ``fd``.

        HTTP/2 numbers its answers, and the platform may say something at any time
        (PING, SETTINGS, GOAWAY): a multiplexed connection passes every check.
        """
        self.open(connection, fd)
        self._sockets[connection] = _MULTIPLEXED if multiplexed else fd
        self.multiplexed = multiplexed

    def __len__(self) -> int:
        """Those of HTTP/1.1 that may be used."""
        return sum(fd >= 0 for fd in self._sockets.values())

    def forget(self, fd: int) -> None:
        """Count an idle one as usable no longer: something has come on it, or it has
        ended. Curl may still try it, and will then be told not to.
        """
        connection = self._connections.get(fd)
        if self._sockets.get(connection) == fd:
            self.abandon(connection)

    def cut_off(self, connection: Hashable) -> None:
        """A call on it has ended early, and one of HTTP/1.1 with it. One of HTTP/2 goes
        on: abandoned, it would turn down every call that curl gives it, and stay open.
        """
        if self._sockets.get(connection, _ABANDONED) >= 0:
            self.abandon(connection)

    def close_silent(self, connection: tuple[str | int, ...], seconds: float) -> None:
        """Close this one, unless it is of HTTP/1.1, if nothing has come on it for so
        many seconds.
        """
        if self._sockets.get(connection, _MULTIPLEXED) != _MULTIPLEXED:
            return
        fds = [fd for fd, known in self._connections.items() if known == connection]
        for fd in fds:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as ours:
                ports = ours.getpeername()[1], ours.getsockname()[1]
                # Unanswered, it may be of HTTP/1.1, and its number another's by now.
                if ports == connection[2:] and _silent_seconds(ours) >= seconds:
                    # Not abandoned: only a call that goes out makes curl let go of it.
                    self._sockets[connection] = _MULTIPLEXED
                    ours.shutdown(socket.SHUT_RDWR)

    def abandon(self, connection: Hashable) -> None:
        """Use this one no more: curl still has it, and will close it when it tries."""
        if connection in self._sockets:
            self._sockets[connection] = _ABANDONED


def is_silent(fd: int) -> bool:
    """Whether nothing has arrived since the last answer, and the socket is to be used.

    Over TLS the bytes may be none of an answer's (a late session ticket): then a
    connection is given up for nothing, which costs a handshake.
    """
    return fd == _MULTIPLEXED or _is_empty(fd, termios.FIONREAD)


def is_acknowledged(fd: int) -> bool:
    """Whether the server has received all that was sent.

    Its TCP says so with the first segment of its answer at the latest. What can be
    read before that is older than the request: it was on its way, or lay in a buffer
    of TLS, where `is_silent` does not see it.
    """
    return fd == _MULTIPLEXED or _is_empty(fd, termios.TIOCOUTQ)


def _silent_seconds(connected: socket.socket) -> float:
    """For how long no data has come."""
    told = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return float(_TCP_INFO.unpack(told)[0]) / 1000


def _is_empty(fd: int, queue: int) -> bool:
    """Whether the kernel holds no byte for a socket; 0.4 us."""
    try:
        fcntl.ioctl(fd, queue, _answer)
    except (OSError, ValueError):  # closed; abandoned
        return False
    return _answer == _NONE
