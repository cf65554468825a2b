"""The event loop of a worker, and its threads: they pack large answers, and without
uvloop one looks names up.
"""

import asyncio
import functools
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["AsyncioLoop", "NoThreads", "new_event_loop", "started_threads"]


class NoThreads(Exception):
    """The system refuses a thread, without which a worker cannot serve."""


def started_threads(count: int) -> ThreadPoolExecutor:
    """So many threads, all of them running: one that the system refuses later would be
    a failed request.

    Raises :class:`NoThreads` if it refuses one now.
    """
    executor = ThreadPoolExecutor(count, "worker")
    everyone = threading.Barrier(count + 1)
    try:
        for _ in range(count):
            executor.submit(everyone.wait)
    except RuntimeError:
        everyone.abort()
        raise NoThreads from None
    everyone.wait()
    return executor


class AsyncioLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, which has names looked up in ``threads`` of its own.

    asyncio itself does it in the default executor, which packs large answers. While no
    name server answers, each try to reach the store by its name would hold one of those
    threads for as long as the C library waits, ten seconds and more.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        super().__init__()
        self._threads = threads

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> list[Any]:
        """As socket.getaddrinfo."""
        look_up = functools.partial(socket.getaddrinfo, host, port, **hints)
        return await self.run_in_executor(self._threads, look_up)


def _asyncio_loop() -> asyncio.AbstractEventLoop:
    return AsyncioLoop(started_threads(1))


try:
    import uvloop
except ImportError:  # it comes with the extra ``fast``
    new_event_loop = _asyncio_loop
else:
    new_event_loop = uvloop.new_event_loop  # libuv looks names up in its own threads
