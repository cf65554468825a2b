"""Writes log lines to a file descriptor without ever waiting.

Otherwise a pipe that nobody reads, a stopped terminal or a hanging journal would stop
the event loop, and the parent with its signals.
"""

import fcntl
import os
import select
import socket
import stat
import weakref
from collections.abc import Callable
from functools import partial
from select import PIPE_BUF
from typing import Final, TextIO

__all__ = ["LogOutput"]

_FILE_PIECE_BYTES: Final = 64 * 1024
_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

Write = Callable[[bytes], int]


class LogOutput:
    """The file behind ``stream``, on a descriptor of its own.

    >>> from io import StringIO
    >>> LogOutput(StringIO()).write(b"ready")
    5

    ``journal_stream`` is systemd's JOURNAL_STREAM, which tells whether the journal is
    at the other end. A stream in memory, without a descriptor, is written directly.
    """

    def __init__(self, stream: TextIO, journal_stream: str = "") -> None:
        self.is_terminal = stream.isatty()
        self.is_journal = False
        # So much goes out as one piece among those of other processes.
        self.piece_bytes = PIPE_BUF
        try:
            stream.flush()
            descriptor = stream.fileno()
        except (OSError, ValueError):
            self._write: Write = _into_memory(stream)
            return
        status = os.fstat(descriptor)
        self.is_journal = journal_stream == f"{status.st_dev}:{status.st_ino}"
        if stat.S_ISSOCK(status.st_mode):
            connection = socket.socket(fileno=os.dup(descriptor))
            weakref.finalize(self, connection.close)
            self._write = partial(_send, connection)
            return
        if stat.S_ISREG(status.st_mode):
            self.piece_bytes = _FILE_PIECE_BYTES  # the kernel locks a file for a write
            # Or what follows logrotate's copytruncate would stand behind a hole.
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
        own = _own_descriptor(descriptor, status.st_mode)
        weakref.finalize(self, os.close, own)
        character_device = stat.S_ISCHR(status.st_mode)
        self._write = _to_terminal(own) if character_device else partial(os.write, own)

    def write(self, data: bytes) -> int:
        """Write bytes and return how many were written; raises OSError for none."""
        return self._write(data)


def _own_descriptor(descriptor: int, mode: int) -> int:
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            # Opened again: O_NONBLOCK belongs to the open file, and the given one may
            # also be the shell's and others'.
            return os.open(f"/proc/self/fd/{descriptor}", _FLAGS)
        except OSError:  # another user's
            if stat.S_ISFIFO(mode):
                os.set_blocking(descriptor, False)  # a supervisor's, and nobody else's
    return os.dup(descriptor)


def _send(connection: socket.socket, data: bytes) -> int:
    return connection.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _to_terminal(descriptor: int) -> Write:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)

    def write(data: bytes) -> int:
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(descriptor, data)

    return write


def _into_memory(stream: TextIO) -> Write:
    def write(data: bytes) -> int:
        if not stream.closed:
            stream.write(data.decode())
        return len(data)

    return write
