"""Brings the signals that the parent acts on to a socket that it can poll."""

import contextlib
import signal
import socket
from typing import Final

__all__ = ["CAUGHT", "SignalQueue"]

#: A worker must not inherit their handlers.
CAUGHT: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT),
    *(signal.SIGHUP, signal.SIGCHLD),
)


class SignalQueue:
    """The signals that have arrived since `catch` and were not taken yet.

    >>> queue = SignalQueue()
    >>> queue.taken()
    b''
    >>> queue.close()
    """

    def __init__(self) -> None:
        self._reader, self._writer = self.sockets = socket.socketpair()
        for end in self.sockets:
            end.setblocking(False)

    def fileno(self) -> int:
        """The file to poll: readable when a signal has arrived."""
        return self._reader.fileno()

    def catch(self) -> None:
        """Catch signals from now on, and those blocked since the start."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in CAUGHT:
            # The socket carries the number; there only has to be a handler.
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)

    def taken(self) -> bytes:
        """Take out the numbers of the signals, one byte each."""
        with contextlib.suppress(BlockingIOError):
            return self._reader.recv(64)
        return b""

    def close(self) -> None:
        """Ignore these signals from now on."""
        signal.set_wakeup_fd(-1)
        for end in self.sockets:
            end.close()
