"""One connection's bytes as Tornado's HTTP/1 parser reads and writes them: the part of
its IOStream that it uses, over a transport of the event loop.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

__all__ = ["Stream"]

# Past this nobody is read from until the parser has taken some; a client may well send
# its next request, or a body, before it was asked to.
_MOST_UNREAD: Final = 128 * 1024

_Find = Callable[[bytearray], int]


class Stream:
    """What a connection has received and nobody has taken yet, and its way out.

    A read takes its bytes at once if they are there; only one may wait at a time. A
    write is done when the transport is not behind with sending. Both raise
    :class:`StreamClosedError` when the connection is closed, a read also when the
    client will send nothing more, and :class:`UnsatisfiableReadError` when what it
    looks for is not within its bound.
    """

    def __init__(
        self, transport: asyncio.Transport, hang_up: Callable[[], None]
    ) -> None:
        """``hang_up`` ends the connection when all that was written is sent."""
        self.io_loop = IOLoop.current()
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._linger = hang_up
        self._received = bytearray()
        self._ended = False
        self._closed = False
        self._full = False
        self._behind = False
        self._find: _Find | None = None
        self._reading: asyncio.Future[bytes] | None = None
        self._writing: list[asyncio.Future[None]] = []
        self._on_close: Callable[[], None] | None = None

    # -- the transport's side ---------------------------------------------

    def feed(self, received: bytes) -> None:
        """Take what has arrived."""
        self._received += received
        self._satisfy()
        if len(self._received) > _MOST_UNREAD and not self._full:
            self._full = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        """The client sends nothing more; what it sent can still be read."""
        self._ended = True
        self._satisfy()

    def lost(self) -> None:
        """The connection is no more."""
        on_close, self._on_close = self._on_close, None
        self._closed = self._ended = True
        self._satisfy()
        self._end_writes(StreamClosedError())
        if on_close is not None:
            on_close()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        self._behind = True

    def resume_writing(self) -> None:
        """What was written is on its way."""
        self._behind = False
        self._end_writes(None)

    @property
    def unread(self) -> int:
        """Bytes received and not taken."""
        return len(self._received)

    @property
    def behind(self) -> bool:
        """Whether the client has yet to read much of what was written."""
        return self._behind

    @property
    def ended(self) -> bool:
        """Whether the client will send nothing more."""
        return self._ended

    # -- the parser's side, in the words of IOStream ----------------------

    def read_until_regex(
        self, regex: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Bytes up to the end of the first match."""
        search = re.compile(regex).search

        def find(received: bytearray) -> int:
            match = search(received)
            return _within(max_bytes, match.end() if match else 0, len(received))

        return self._read(find)

    def read_until(
        self, delimiter: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Bytes up to and with the delimiter."""

        def find(received: bytearray) -> int:
            at = received.find(delimiter) + 1
            end = at + len(delimiter) - 1 if at else 0
            return _within(max_bytes, end, len(received))

        return self._read(find)

    def read_bytes(
        self, num_bytes: int, partial: bool = False
    ) -> "asyncio.Future[bytes]":
        """So many bytes; with ``partial`` at least one, and no more than those."""

        def find(received: bytearray) -> int:
            there = min(len(received), num_bytes)
            return there if partial or there == num_bytes else 0

        return self._read(find)

    def write(self, data: bytes) -> "asyncio.Future[None]":
        """Send, in order."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._writing.append(done)
        if self.closed():
            self._end_writes(StreamClosedError())
            return done
        self._transport.write(data)
        if not self._behind:
            self._end_writes(None)
        return done

    def close(self) -> None:
        """Send what was written, and nothing more."""
        if not self._closed:
            self.lost()
            self._linger()

    def closed(self) -> bool:
        """Whether it is of no more use."""
        return self._closed or self._transport.is_closing()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have this called, once, when the connection is lost."""
        self._on_close = callback

    def set_nodelay(self, value: bool) -> None:
        """Leave it be: the event loop's transports never delay."""

    def _read(self, find: _Find) -> "asyncio.Future[bytes]":
        if self._reading is not None:
            raise RuntimeError("another read is waiting")
        reading = self._reading = self._loop.create_future()
        self._find = find
        self._satisfy()
        return reading

    def _end_writes(self, fault: StreamClosedError | None) -> None:
        writing, self._writing = self._writing, []
        for write in writing:
            if write.done():
                continue  # cancelled
            if fault is None:
                write.set_result(None)
            else:
                write.set_exception(fault)
                write.exception()  # its writer may have left

    def _satisfy(self) -> None:
        """End the waiting read if what has come, or will not come, allows it."""
        reading, find = self._reading, self._find
        if reading is None or find is None:
            return
        fault: Exception = StreamClosedError()
        end = 0
        if not self._closed:
            try:
                end = find(self._received)
            except UnsatisfiableReadError as too_long:
                fault = too_long
            else:
                if not end and not self._ended:
                    return
        self._reading = None
        taken = self._take(end)
        if reading.done():
            return  # cancelled
        if end:
            reading.set_result(taken)
        else:
            reading.set_exception(fault)
            reading.exception()  # its reader may have left

    def _take(self, end: int) -> bytes:
        taken = bytes(memoryview(self._received)[:end])
        del self._received[:end]
        if self._full and len(self._received) <= _MOST_UNREAD and not self._closed:
            self._full = False
            self._transport.resume_reading()
        return taken


def _within(most: int | None, end: int, there: int) -> int:
    """``end``, if it is not further than allowed and may still come if it is 0."""
    if most is not None and (end or there) > most:
        raise UnsatisfiableReadError("Nothing to be found within the bound")
    return end
