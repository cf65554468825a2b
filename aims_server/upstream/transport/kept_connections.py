"""Owns whether an idle connection to the platform may still carry a call.

HTTP/1.1 does not number its answers: whatever arrives on a connection counts as the
answer to the request sent last. If the platform sent an answer twice, or too late, the
next student would get it.
"""

import contextlib
import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Hashable
from typing import Final

import msgspec

from ...deadline import Clock

__all__ = ["CONNECTION_SECONDS", "KeptConnections", "is_acknowledged", "is_silent"]

#: For so long a connection takes calls. Without an end they would go on, as long as
#: they come, to a server that the name has left and that answers each with an error.
CONNECTION_SECONDS: Final = 60

_NONE: Final = bytes(4)  # the kernel's int for no byte
# A buffer: given bytes, `fcntl.ioctl` raises and drops two exceptions, 0.3 us more.
_answer: Final = bytearray(_NONE)
# The kernel's field for the time since data last arrived, in milliseconds.
_TCP_INFO: Final = struct.Struct("=52xI")
_MULTIPLEXED: Final = -1
_ABANDONED: Final = -2


class _Known(msgspec.Struct):
    """A connection with its socket ``fd``, opened at a moment of the clock. ``checked``
    is the socket to check before a call, or `_MULTIPLEXED` or `_ABANDONED` in place of
    it; None until it has served a call.
    """

    fd: int
    opened_at: float
    checked: int | None = None


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

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.multiplexed: bool | None = None
        """Whether calls may share a connection, as the last new one was told; None
        before anything has been answered.
        """

        self._known: dict[Hashable, _Known] = {}
        self._by_fd: dict[int, Hashable] = {}  # the same, by their sockets

    def socket_of(self, connection: Hashable) -> int | None:
        """The socket to check before a call is sent; None for a new connection."""
        known = self._known.get(connection)
        return None if known is None else known.checked

    def open(self, connection: Hashable, fd: int) -> None:
        """A call is sent on this new connection with the socket ``fd``."""
        known = self._known.get(connection)
        if known is not None:
            if known.fd == fd:
                return
            del self._by_fd[known.fd]
        # Curl does not report closed sockets: another connection gets the number, and
        # perhaps the port gets another number.
        self._known.pop(self._by_fd.get(fd), None)
        self._known[connection] = _Known(fd, self._clock())
        self._by_fd[fd] = connection

    def add(self, connection: Hashable, fd: int, *, multiplexed: bool) -> None:
        """A call was answered on this new connection with the socket ``fd``.

        A multiplexed connection passes every check: HTTP/2 numbers its answers, and the
        platform may send PING, SETTINGS or GOAWAY at any time.
        """
        self.open(connection, fd)
        self._known[connection].checked = _MULTIPLEXED if multiplexed else fd
        self.multiplexed = multiplexed

    def __len__(self) -> int:
        """The number of usable connections of HTTP/1.1."""
        latest = self._clock() - CONNECTION_SECONDS
        return sum(
            known.checked == known.fd and known.opened_at > latest
            for known in self._known.values()
        )

    def forget(self, fd: int) -> None:
        """Stop counting an idle connection as usable: something arrived on it, or it
        ended. If curl still tries it, the check will reject it.
        """
        connection = self._by_fd.get(fd)
        if self.socket_of(connection) == fd:
            self.abandon(connection)

    def cut_off(self, connection: Hashable) -> None:
        """A call on this connection has ended early, and with it one of HTTP/1.1. One
        of HTTP/2 goes on: if abandoned, it would reject each call that curl gives it,
        and stay open.
        """
        if self.socket_of(connection) != _MULTIPLEXED:
            self.abandon(connection)

    def close_silent(self, connection: tuple[str | int, ...], seconds: float) -> None:
        """Close this connection if it is not HTTP/1.1 and nothing has arrived on it for
        ``seconds``.
        """
        known = self._known.get(connection)
        if known is None or known.checked not in (None, _MULTIPLEXED):
            return
        own = known.fd
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(own)) as ours:
            ports = ours.getpeername()[1], ours.getsockname()[1]
            # Without an answer it may be HTTP/1.1, and its number another socket's.
            if ports == connection[2:] and _silent_seconds(ours) >= seconds:
                # Not abandoned: curl drops it only when it sends a call on it.
                known.checked = _MULTIPLEXED
                ours.shutdown(socket.SHUT_RDWR)

    def abandon(self, connection: Hashable) -> None:
        """Reject this connection from now on; curl closes it when it next tries it."""
        known = self._known.get(connection)
        if known is not None and known.checked is not None:
            known.checked = _ABANDONED


def is_silent(fd: int) -> bool:
    """Whether nothing has arrived since the last answer; False if not to be used.

    Over TLS the bytes may belong to no answer (a late session ticket): then a
    connection is given up needlessly, which costs a handshake.
    """
    return fd == _MULTIPLEXED or _is_empty(fd, termios.FIONREAD)


def is_acknowledged(fd: int) -> bool:
    """Whether the server has received everything that was sent.

    TCP acknowledges it with the first segment of the answer at the latest. What can be
    read before is older than the request: it was on its way, or in a buffer of TLS,
    where `is_silent` does not see it.
    """
    return fd == _MULTIPLEXED or _is_empty(fd, termios.TIOCOUTQ)


def _silent_seconds(connected: socket.socket) -> float:
    """The seconds since data last arrived."""
    packed = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return float(_TCP_INFO.unpack(packed)[0]) / 1000


def _is_empty(fd: int, queue: int) -> bool:
    """Whether the kernel holds no byte for a socket; 0.4 us."""
    try:
        fcntl.ioctl(fd, queue, _answer)
    except (OSError, ValueError):  # closed; abandoned
        return False
    return _answer == _NONE
