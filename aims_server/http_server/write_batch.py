"""Collects the answers of one turn of the event loop and writes them at its end."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["WriteBatch"]

Bytes = bytes | memoryview

_MAX_WRITES: Final = 64  # of some 10 us each; then the loop has a turn
# CVE-2024-12254: asyncio's own transports do not pause their protocol in writelines, so
# that the answers to a client that reads nothing would pile up.
_JOINED: Final = (3, 12) <= sys.version_info < (3, 12, 9) or (
    (3, 13) <= sys.version_info < (3, 13, 2)
)


class WriteBatch:
    r"""Answers to be written before the loop waits for events again.

    Each write wakes its client. If each answer were written at once, clients and server
    would alternate on the CPU, which took a fifth of a kept page's time under load.

    >>> async def example() -> None:
    ...     batch = WriteBatch(asyncio.get_running_loop().call_soon)
    ...     batch.add(transport, (b"HTTP/1.1 204 No Content", b"\r\n\r\n"))
    ...     batch.add(transport, (b"HTTP/1.1 204 No Content", b"\r\n\r\n"))
    ...     print("added")
    >>> class Transport(asyncio.Transport):
    ...     is_closing = lambda self: False
    ...     write = lambda self, data: print("written")
    >>> transport = Transport()
    >>> asyncio.run(example())
    added
    written
    written
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """``call_soon`` schedules a function for the end of this turn of the loop."""
        self._call_soon = call_soon
        self._writes: list[tuple[asyncio.Transport, Sequence[Bytes]]] = []

    def add(self, transport: asyncio.Transport, parts: Sequence[Bytes]) -> None:
        """Write these parts at the end of the turn."""
        if not self._writes:
            self._call_soon(self.flush)
        self._writes.append((transport, parts))
        if len(self._writes) >= _MAX_WRITES:
            self.flush()

    def flush(self) -> None:
        """Write everything that was added."""
        writes, self._writes = self._writes, []
        for transport, parts in writes:
            if transport.is_closing():
                continue
            if _JOINED:
                transport.write(b"".join(parts))
            else:
                transport.writelines(parts)
