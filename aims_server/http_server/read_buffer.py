"""Buffers what a client has sent, and completes the read that waits for it."""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from tornado.iostream import StreamClosedError, UnsatisfiableReadError

__all__ = ["Find", "ReadBuffer", "find_bytes", "find_regex"]

# Above this, reading pauses until the parser has taken some: a client may send its next
# request, or a body, before the parser asks for it.
_MAX_UNREAD_BYTES: Final = 128 * 1024

# Only the end of a head or of a line is searched, of at most 4 bytes. So a search goes
# on 3 bytes before the end of the last one. Searching from the beginning each time, 32
# KiB that come byte by byte would take 3.3 s of CPU; this takes 0.03.
_OVERLAP_BYTES: Final = 3

_TOO_FAR: Final = "What is looked for is not within the bound"

Find = Callable[[bytearray], int]
"""Returns the end of what is searched in the received bytes: 0 if it has not arrived
yet, -1 if it is not, or cannot be, within its bound.
"""


class ReadBuffer:
    r"""Received bytes; a read completes at once if its bytes are there.

    A read raises :class:`StreamClosedError` when the connection is lost or the client
    has sent its last byte, and :class:`UnsatisfiableReadError` if what it searches is
    not within its bound.

    >>> async def example() -> bytes:
    ...     buffer = ReadBuffer(asyncio.Transport())
    ...     line = buffer.read(find_regex(b"\r\n", 64))
    ...     buffer.feed(b"GET / HTTP/1.1\r\nHost")
    ...     return await line
    >>> asyncio.run(example())
    b'GET / HTTP/1.1\r\n'
    """

    __slots__ = (
        "_closed",
        "_find",
        "_loop",
        "_paused",
        "_reading",
        "_received",
        "_transport",
        "at_eof",
    )

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._received = bytearray()
        self.at_eof = False
        """Whether the client has sent its last byte."""
        self._closed = False
        self._paused = False
        self._find: Find | None = None
        self._reading: asyncio.Future[bytes] | None = None

    def __len__(self) -> int:
        return len(self._received)

    def feed(self, received: bytes) -> None:
        """Add received bytes."""
        self._received += received
        self._complete()
        if len(self._received) > _MAX_UNREAD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        """The client has sent its last byte; what is buffered can still be read."""
        self.at_eof = True
        self._complete()

    def close(self) -> None:
        """Fail the waiting read and all later ones."""
        self._closed = self.at_eof = True
        self._complete()

    def take_all(self) -> bytes:
        """Take everything out of the buffer."""
        return self._take(len(self._received))

    def put_back(self, received: bytes) -> None:
        """Put bytes back at the buffer's beginning."""
        self._received[:0] = received

    def read(self, find: Find) -> "asyncio.Future[bytes]":
        """Bytes up to the end that ``find`` returns; only one read may wait."""
        if self._reading is not None:
            raise RuntimeError("another read is waiting")
        reading = self._reading = self._loop.create_future()
        self._find = find
        self._complete()
        return reading

    def _complete(self) -> None:
        """Complete or fail the waiting read, if the buffer decides it."""
        reading, find = self._reading, self._find
        if reading is None or find is None:
            return
        end = 0 if self._closed else find(self._received)
        if end == 0 and not self.at_eof:
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
            reading.exception()  # marks it as retrieved: the reader may be gone

    def _take(self, end: int) -> bytes:
        taken = bytes(memoryview(self._received)[:end])
        del self._received[:end]
        if self._paused and len(self) <= _MAX_UNREAD_BYTES and not self._closed:
            self._paused = False
            self._transport.resume_reading()
        return taken


def find_regex(regex: bytes, max_bytes: int) -> Find:
    """The end of the first match, which has 4 bytes at most."""
    search = re.compile(regex).search
    searched = 0

    def find(received: bytearray) -> int:
        nonlocal searched
        match = search(received, max(0, searched - _OVERLAP_BYTES))
        searched = len(received)
        return _bounded(match.end() if match else 0, len(received), max_bytes)

    return find


def find_bytes(count: int, *, partial: bool) -> Find:
    """The end of ``count`` bytes; with ``partial`` of one to so many."""

    def find(received: bytearray) -> int:
        available = min(len(received), count)
        return available if partial or available == count else 0

    return find


def _bounded(end: int, available: int, max_bytes: int) -> int:
    """``end``, 0 for not found yet; -1 if it is, or would be, past the bound.

    Raises no exception, whose traceback would hold the frame that holds it: a reference
    cycle for each malformed request.
    """
    return -1 if (end or available) > max_bytes else end
