"""The part of Tornado's IOStream that its HTTP/1 parser uses, over asyncio's transport.

Written by hand because an IOStream reads its socket itself, which leaves no place for
a fast path before the parser: two thirds of a kept answer's time had passed in the
parser and its streams (bench/RESULTS.rst).
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

__all__ = ["Stream"]

# Past this, reading pauses until the parser has taken some: a client may send its next
# request, or a body, before the parser asks for it.
_MAX_UNREAD_BYTES: Final = 128 * 1024

_Find = Callable[[bytearray], int]


class Stream:
    r"""A buffer of what was received, and the way to the transport for what is written.

    A read completes at once if its bytes are there; only one may wait at a time. A
    write completes when writing is not paused. Both raise :class:`StreamClosedError`
    when the connection is closed, a read also when the client has sent its last byte,
    and :class:`UnsatisfiableReadError` when what it looks for is not within its bound.

    >>> async def example() -> bytes:
    ...     stream = Stream(asyncio.Transport(), close_transport=lambda: None)
    ...     line = stream.read_until(b"\r\n")
    ...     stream.feed(b"GET / HTTP/1.1\r\nHost")
    ...     return await line
    >>> asyncio.run(example())
    b'GET / HTTP/1.1\r\n'
    """

    def __init__(
        self, transport: asyncio.Transport, close_transport: Callable[[], None]
    ) -> None:
        """``close_transport`` ends the connection once all that was written is sent."""
        self.io_loop = IOLoop.current()
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._close_transport = close_transport
        self._received = bytearray()
        self._at_eof = False
        self._closed = False
        self._reading_paused = False
        self._writing_paused = False
        self._find: _Find | None = None
        self._reading: asyncio.Future[bytes] | None = None
        self._writing: list[asyncio.Future[None]] = []
        self._on_close: Callable[[], None] | None = None

    # -- for the transport: asyncio.Protocol's events --------------------

    def feed(self, received: bytes) -> None:
        """Add received bytes."""
        self._received += received
        self._complete_read()
        if len(self._received) > _MAX_UNREAD_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        """The client has sent its last byte; what is buffered can still be read."""
        self._at_eof = True
        self._complete_read()

    def connection_lost(self) -> None:
        """Fail every waiting read and write."""
        on_close, self._on_close = self._on_close, None
        self._closed = self._at_eof = True
        self._complete_read()
        self._complete_writes(StreamClosedError())
        if on_close is not None:
            on_close()

    def pause_writing(self) -> None:
        """Let writes wait: the transport's buffer is above its high-water mark."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Complete the writes that wait."""
        self._writing_paused = False
        self._complete_writes(None)

    @property
    def unread(self) -> int:
        """How many bytes are buffered."""
        return len(self._received)

    @property
    def writing_paused(self) -> bool:
        """Whether the transport's buffer is above its high-water mark."""
        return self._writing_paused

    @property
    def at_eof(self) -> bool:
        """Whether the client has sent its last byte."""
        return self._at_eof

    # -- for the parser: IOStream's methods -------------------------------

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
        """Exactly ``num_bytes``; with ``partial`` at least one and at most so many."""

        def find(received: bytearray) -> int:
            available = min(len(received), num_bytes)
            return available if partial or available == num_bytes else 0

        return self._read(find)

    def write(self, data: bytes) -> "asyncio.Future[None]":
        """Send, in order."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._writing.append(done)
        if self.closed():
            self._complete_writes(StreamClosedError())
            return done
        self._transport.write(data)
        if not self._writing_paused:
            self._complete_writes(None)
        return done

    def close(self) -> None:
        """Send what was written, then end the connection."""
        if not self._closed:
            self.connection_lost()
            self._close_transport()

    def closed(self) -> bool:
        """Whether nothing can be read or written any more."""
        return self._closed or self._transport.is_closing()

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call this once when the connection is lost."""
        self._on_close = callback

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: asyncio's transports set TCP_NODELAY themselves."""

    def _read(self, find: _Find) -> "asyncio.Future[bytes]":
        if self._reading is not None:
            raise RuntimeError("another read is waiting")
        reading = self._reading = self._loop.create_future()
        self._find = find
        self._complete_read()
        return reading

    def _complete_writes(self, fault: StreamClosedError | None) -> None:
        writing, self._writing = self._writing, []
        for write in writing:
            if write.done():
                continue  # cancelled
            if fault is None:
                write.set_result(None)
            else:
                write.set_exception(fault)
                write.exception()  # marks it retrieved: the writer may be gone

    def _complete_read(self) -> None:
        """Complete or fail the waiting read if what is buffered decides it."""
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
                if not end and not self._at_eof:
                    return
        self._reading = None
        taken = self._take(end)
        if reading.done():
            return  # cancelled
        if end:
            reading.set_result(taken)
        else:
            reading.set_exception(fault)
            reading.exception()  # marks it retrieved: the reader may be gone

    def _take(self, end: int) -> bytes:
        taken = bytes(memoryview(self._received)[:end])
        del self._received[:end]
        if (
            self._reading_paused
            and len(self._received) <= _MAX_UNREAD_BYTES
            and not self._closed
        ):
            self._reading_paused = False
            self._transport.resume_reading()
        return taken


def _within(max_bytes: int | None, end: int, available: int) -> int:
    """``end`` (0: not found yet); raises where it is, or would be, past the bound."""
    if max_bytes is not None and (end or available) > max_bytes:
        raise UnsatisfiableReadError("Nothing to be found within the bound")
    return end
