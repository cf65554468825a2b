"""Runs heavy work in slices of a millisecond, between which the event loop goes on.

A page's fifty answers may arrive in the same turn. Decoded and counted at once, they
would delay all other requests by the sum of their times.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Final, TypeAlias, TypeVar

__all__ = ["SerialExecutor", "Steps", "finish"]

Result = TypeVar("Result")

Steps: TypeAlias = Generator[None, None, Result]
"""Work that can be interrupted after each step; its return value is the result."""

_SECONDS_AT_ONCE: Final = 0.001


class SerialExecutor:
    """Runs pieces of work one after the other, in slices of a millisecond.

    >>> async def example():
    ...     print(await SerialExecutor().run(lambda: sum(range(5))))
    >>> asyncio.run(example())
    10

    A slice ends with the first step after the millisecond. After each slice, and after
    each piece of work, the event loop has a turn for its other work.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of ``work()``, which is a single step; raises what it raises."""
        return await self.run_steps(_undivided(work))

    async def run_steps(self, steps: Steps[Result]) -> Result:
        """The result of these steps; raises what they raise."""
        async with self._lock:
            try:
                while True:
                    end = self._clock() + _SECONDS_AT_ONCE
                    next(steps)
                    while self._clock() < end:
                        next(steps)
                    await asyncio.sleep(0)
            except StopIteration as last:
                result: Result = last.value
            await asyncio.sleep(0)  # the next work in a turn of its own
        return result


def finish(steps: Steps[Result]) -> Result:
    """Run all steps at once, if they are few, and return the result.

    >>> def steps():
    ...     yield
    ...     return "done"
    >>> finish(steps())
    'done'
    """
    try:
        while True:
            next(steps)
    except StopIteration as last:
        result: Result = last.value
        return result


def _undivided(work: Callable[[], Result]) -> Steps[Result]:
    yield from ()
    return work()
