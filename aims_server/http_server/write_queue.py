"""Queues what is to be written to a client until its transport takes it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tornado.iostream import StreamClosedError

from .write_batch import WriteBatch

__all__ = ["PIECE_BYTES", "WriteQueue"]

# The transport gets such pieces, each when writing is not paused. asyncio pauses
# writing at 64 KiB, so the transport never holds more than 192 KiB.
PIECE_BYTES: Final = 128 * 1024
# A client that reads fast never pauses the writing, which would hold the event loop. So
# many pieces take a millisecond at most.
_PIECES_A_TURN: Final = 4


class WriteQueue:
    """Gives a transport what is written in pieces, as fast as the client reads.

    A write completes when the transport has all of it and writing is not paused, and
    raises :class:`StreamClosedError` when the connection is lost.

    >>> class Transport(asyncio.Transport):
    ...     is_closing = lambda self: False
    >>> async def example() -> tuple[int, int]:
    ...     queue = WriteQueue(Transport(), WriteBatch(lambda flush: None))
    ...     queue.pause()
    ...     queue.write(b"HTTP/1.1 204 No Content")
    ...     before = queue.given
    ...     queue.resume()
    ...     return before, queue.given
    >>> asyncio.run(example())
    (0, 23)
    """

    __slots__ = (
        "_closed",
        "_loop",
        "_on_written",
        "_paused",
        "_pieces",
        "_transport",
        "_waiting",
        "_write_batch",
        "given",
    )

    def __init__(self, transport: asyncio.Transport, write_batch: WriteBatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._write_batch = write_batch
        self._closed = False
        self._paused = False
        self._pieces: deque[memoryview] = deque()
        self._waiting: list[asyncio.Future[None]] = []
        self._on_written: Callable[[], None] | None = None
        self.given = 0
        """How many bytes the transport was given, by whatever way."""

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def paused(self) -> bool:
        """Whether writing is paused."""
        return self._paused or bool(self._pieces)

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._closed or self._transport.is_closing()

    def write(self, data: bytes) -> "asyncio.Future[None]":
        """Send in order."""
        if not self.closed:
            self._pieces.append(memoryview(data))
        return self.writable()

    def writable(self) -> "asyncio.Future[None]":
        """Wait until all is written and writing is not paused."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(done)
        if self.closed:
            self._complete(StreamClosedError())
        else:
            self._give()
        return done

    def when_written(self, callback: Callable[[], None]) -> None:
        """Call this once the transport has everything, unless it has it already."""
        self._on_written = callback

    def pause(self) -> None:
        """Pause writing: the transport's buffer is above its high-water mark."""
        self._paused = True

    def resume(self) -> None:
        """Resume writing, and complete the waiting writes."""
        self._paused = False
        self._give()

    def close(self) -> None:
        """Fail the waiting writes and all later ones."""
        self._closed = True
        self._on_written = None
        self._pieces.clear()
        self._complete(StreamClosedError())

    def _give(self) -> None:
        """Give the transport as much as it takes without pausing, a part of it in each
        turn of the loop.
        """
        pieces = 0
        while self._pieces and not self._paused:
            if pieces == _PIECES_A_TURN:
                self._loop.call_soon(self._give)
                return
            pieces += 1
            data = self._pieces.popleft()
            if len(data) > PIECE_BYTES:
                self._pieces.appendleft(data[PIECE_BYTES:])
                data = data[:PIECE_BYTES]
            self.given += len(data)
            self._write_batch.add(self._transport, (data,))
            if self._pieces:
                self._write_batch.flush()  # which may pause writing
        if not self._paused:
            self._complete(None)
            if self._on_written is not None:
                self._on_written()

    def _complete(self, fault: StreamClosedError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            if write.done():
                continue  # cancelled
            if fault is None:
                write.set_result(None)
            else:
                write.set_exception(fault)
                write.exception()  # marks it as retrieved: the writer may be gone
