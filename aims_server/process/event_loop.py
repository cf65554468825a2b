"""A worker's event loop, and its threads: for heavy work such as compressing large
answers, and without uvloop one more that resolves host names.
"""

import asyncio
import functools
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["AsyncioLoop", "NoThreads", "new_event_loop", "started_threads"]


class NoThreads(Exception):
    """The system refuses a thread that a worker needs."""


def started_threads(count: int) -> ThreadPoolExecutor:
    """So many threads, all running already: one refused later would be a failed
    request.

    Raises :class:`NoThreads` if the system refuses one.
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
    """asyncio's loop, which resolves host names in ``threads`` of its own.

    asyncio itself uses the default executor, which compresses large answers. While no
    name server answers, each try to reach the store would block one of its threads for
    as long as the C library waits, ten seconds or more.
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
except ImportError:  # the extra ``fast`` has it
    new_event_loop = _asyncio_loop
else:
    new_event_loop = uvloop.new_event_loop  # libuv resolves names in its own threads
