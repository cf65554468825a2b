"""The part of Tornado's IOStream that its HTTP/1 parser uses, over asyncio's transport.

Written by hand because an IOStream reads its socket itself, which leaves no place for
a fast path before the parser: two thirds of a kept answer's time had passed in the
parser and its streams (bench/RESULTS.rst).
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Final

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

from .write_batch import WriteBatch

__all__ = ["PIECE_BYTES", "Stream"]

# Past this, reading pauses until the parser has taken some: a client may send its next
# request, or a body, before the parser asks for it.
_MAX_UNREAD_BYTES: Final = 128 * 1024

# The only expression that Tornado searches for, the end of a head, matches 4 bytes at
# most, so a search goes on 3 bytes before the end of the last one: searched from its
# beginning each time, 32 KiB that come byte by byte cost 3.3 s of CPU, so 0.03.
_OVERLAP_BYTES: Final = 3

# What is written goes to the transport in such pieces, each when writing is not paused.
# asyncio pauses it at 64 KiB, so the transport never holds more than 192 KiB.
PIECE_BYTES: Final = 128 * 1024
# They take a millisecond at most. A client that reads as fast pauses nothing.
_PIECES_A_TURN: Final = 4

_Find = Callable[[bytearray], int]

_TOO_FAR: Final = "What is looked for is not within the bound"


class Stream:
    r"""A buffer of what was received, and the way to the transport for what is written.

    A read completes at once if its bytes are there; only one may wait at a time. A
    write completes when the transport has all of it and writing is not paused. Both
    raise :class:`StreamClosedError` when the connection is closed, a read also when the
    client has sent its last byte, and :class:`UnsatisfiableReadError` when what it
    looks for is not within its bound.

    >>> async def example() -> bytes:
    ...     stream = Stream(asyncio.Transport(), WriteBatch(print), lambda: None)
    ...     line = stream.read_until(b"\r\n")
    ...     stream.feed(b"GET / HTTP/1.1\r\nHost")
    ...     return await line
    >>> asyncio.run(example())
    b'GET / HTTP/1.1\r\n'
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        write_batch: WriteBatch,
        close_transport: Callable[[], None],
    ) -> None:
        """``close_transport`` ends the connection once all that was written is sent."""
        self.io_loop = IOLoop.current()
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._write_batch = write_batch
        self._close_transport = close_transport
        self._received = bytearray()
        self._at_eof = False
        self._closed = False
        self._reading_paused = False
        self._writing_paused = False
        self._find: _Find | None = None
        self._reading: asyncio.Future[bytes] | None = None
        self._writing: list[asyncio.Future[None]] = []
        self._unwritten: deque[memoryview] = deque()
        self._close_when_written = False
        self._on_close: Callable[[], None] | None = None
        self.written = 0
        """How many bytes the transport was given, by whatever way."""

    # -- for the transport: asyncio.Protocol's events --------------------

    def feed(self, received: bytes) -> None:
        """Add received bytes."""
        self._received += received
        self._complete_read()
        if len(self._received) > _MAX_UNREAD_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def take_all(self) -> bytes:
        """Everything that is buffered."""
        return self._take(len(self._received))

    def put_back(self, received: bytes) -> None:
        """Put bytes before all that is buffered."""
        self._received[:0] = received

    def feed_eof(self) -> None:
        """The client has sent its last byte; what is buffered can still be read."""
        self._at_eof = True
        self._complete_read()

    def connection_lost(self) -> None:
        """Fail every waiting read and write."""
        on_close, self._on_close = self._on_close, None
        self._closed = self._at_eof = True
        self._unwritten.clear()
        self._complete_read()
        self._complete_writes(StreamClosedError())
        if on_close is not None:
            on_close()

    def pause_writing(self) -> None:
        """Let writes wait: the transport's buffer is above its high-water mark."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Write more, and complete the writes that wait."""
        self._writing_paused = False
        self._write_pieces()

    @property
    def unread(self) -> int:
        """How many bytes are buffered."""
        return len(self._received)

    @property
    def writing_paused(self) -> bool:
        """Whether nothing more should be written for the moment."""
        return self._writing_paused or self.unwritten

    @property
    def unwritten(self) -> bool:
        """Whether the transport has yet to be given a part of what was written."""
        return bool(self._unwritten)

    def has_line(self, max_bytes: int) -> bool:
        """Whether a line ends within so many bytes of what is buffered."""
        return self._received.find(b"\n", 0, max_bytes) >= 0

    @property
    def at_eof(self) -> bool:
        """Whether the client has sent its last byte."""
        return self._at_eof

    # -- for the parser: IOStream's methods -------------------------------

    def read_until_regex(
        self, regex: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Bytes up to the end of the first match, which has 4 bytes at most."""
        search = re.compile(regex).search
        searched = 0

        def find(received: bytearray) -> int:
            nonlocal searched
            match = search(received, max(0, searched - _OVERLAP_BYTES))
            searched = len(received)
            return _bounded(match.end() if match else 0, len(received), max_bytes)

        return self._read(find)

    def read_until(
        self, delimiter: bytes, max_bytes: int | None = None
    ) -> "asyncio.Future[bytes]":
        """Bytes up to and with the delimiter."""

        def find(received: bytearray) -> int:
            at = received.find(delimiter) + 1
            end = at + len(delimiter) - 1 if at else 0
            return _bounded(end, len(received), max_bytes)

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
        if not self.closed():
            self._unwritten.append(memoryview(data))
        return self.writable()

    def writable(self) -> "asyncio.Future[None]":
        """Wait until all is written and writing is not paused."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._writing.append(done)
        if self.closed():
            self._complete_writes(StreamClosedError())
        else:
            self._write_pieces()
        return done

    def close(self) -> None:
        """Send what was written, then end the connection."""
        if self._unwritten:
            self._close_when_written = True
        elif not self._closed:
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

    def _write_pieces(self) -> None:
        """Give the transport as much as it takes without pausing, a part in each turn
        of the loop.
        """
        pieces = 0
        while self._unwritten and not self._writing_paused:
            if pieces == _PIECES_A_TURN:
                self._loop.call_soon(self._write_pieces)
                return
            pieces += 1
            data = self._unwritten.popleft()
            if len(data) > PIECE_BYTES:
                self._unwritten.appendleft(data[PIECE_BYTES:])
                data = data[:PIECE_BYTES]
            self.written += len(data)
            self._write_batch.add(self._transport, (data,))
            if self._unwritten:
                self._write_batch.flush()  # which may pause writing
        if not self._writing_paused:
            self._complete_writes(None)
            if self._close_when_written:
                self.close()

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
        end = 0 if self._closed else find(self._received)
        if end == 0 and not self._at_eof:
            return
        self._reading = None
        taken = self._take(end) if end > 0 else b""
        if reading.done():
            return  # cancelled
        if taken:
            reading.set_result(taken)
        else:
            reading.set_exception(
                StreamClosedError() if end == 0 else UnsatisfiableReadError(_TOO_FAR)
            )
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


def _bounded(end: int, available: int, max_bytes: int | None) -> int:
    """``end``, 0 for not found yet; -1 if it is, or would be, past the bound.

    No exception is raised where it is noticed: its traceback would hold the frame that
    holds it, a cycle for each malformed request.
    """
    if max_bytes is not None and (end or available) > max_bytes:
        return -1
    return end
