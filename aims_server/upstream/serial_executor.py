"""Runs heavy pieces of work, at most one in a turn of the event loop.

A page's fifteen answers may arrive in the same turn; decoded one after the other in
it, they would hold every other student's request for the sum of their times.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["SerialExecutor"]

Result = TypeVar("Result")


class SerialExecutor:
    """Runs pieces of work that take a millisecond or more, one in a turn of the loop.

    >>> async def example():
    ...     print(await SerialExecutor().run(lambda: sum(range(5))))
    >>> asyncio.run(example())
    10
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of ``work()``, done in a turn of its own."""
        async with self._lock:
            result = work()
            await asyncio.sleep(0)
        return result
