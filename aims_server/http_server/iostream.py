"""The part of Tornado's IOStream that its HTTP/1 parser uses, over asyncio's transport.

Written by hand because an IOStream reads its socket itself, so that no fast path can
come before the parser. Parser and streams took two thirds of a kept answer's time
(bench/RESULTS.rst).
"""

import asyncio
from collections.abc import Callable

from tornado.ioloop import IOLoop

from .read_buffer import ReadBuffer, find_bytes, find_regex
from .write_batch import WriteBatch
from .write_queue import WriteQueue

__all__ = ["Stream"]


class Stream:
    r"""``reads``, the buffer of received bytes, and ``writes``, the queue to the
    transport, with IOStream's methods.

    >>> async def example() -> bytes:
    ...     stream = Stream(asyncio.Transport(), WriteBatch(print), lambda: None)
    ...     line = stream.read_until_regex(b"\r\n", 64)
    ...     stream.reads.feed(b"GET / HTTP/1.1\r\nHost")
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
        """``close_transport`` ends the connection after everything written is sent."""
        self.io_loop = IOLoop.current()
        self.reads = ReadBuffer(transport)
        self.writes = WriteQueue(transport, write_batch)
        self._close_transport = close_transport
        self.closing = False
        """Whether the last answer is written or given up: nothing more is read."""
        self._closed = False
        self._on_close: Callable[[], None] | None = None

    def connection_lost(self) -> None:
        """Fail every waiting read and write."""
        on_close, self._on_close = self._on_close, None
        self.closing = self._closed = True
        self.reads.close()
        self.writes.close()
        if on_close is not None:
            # After the writes have failed: Tornado's parser then forgets who waits for
            # one, and a handler would wait for ever.
            asyncio.get_running_loop().call_soon(on_close)

    def read_until_regex(self, regex: bytes, max_bytes: int) -> "asyncio.Future[bytes]":
        """Bytes up to the end of the first match, which has 4 bytes at most."""
        return self.reads.read(find_regex(regex, max_bytes))

    def read_bytes(
        self, num_bytes: int, partial: bool = False
    ) -> "asyncio.Future[bytes]":
        """Exactly ``num_bytes``; with ``partial`` at least one and at most so many."""
        return self.reads.read(find_bytes(num_bytes, partial=partial))

    def write(self, data: bytes) -> "asyncio.Future[None]":
        """Send, in order."""
        return self.writes.write(data)

    def close(self) -> None:
        """Send everything written, then end the connection."""
        self.closing = True
        if self.writes:
            self.writes.when_written(self.close)
        elif not self._closed:
            self.connection_lost()
            self._close_transport()

    def closed(self) -> bool:
        """Whether nothing can be read or written any more."""
        return self.writes.closed

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call this once when the connection is lost."""
        self._on_close = callback

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: asyncio's transports set TCP_NODELAY themselves."""
