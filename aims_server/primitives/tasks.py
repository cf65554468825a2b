"""Tasks that run until they are cancelled, and waiting for one to end."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

__all__ = ["done_within", "watched_task"]

_log = logging.getLogger(__name__)


def watched_task(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """A task that its owner holds and cancels. Nobody awaits it, and asyncio logs its
    failure only when it is freed, so it is logged here. It may begin during a request
    but is no part of it: it has its own context, without the request's id.
    """
    task = asyncio.create_task(work, context=Context())
    task.add_done_callback(_log_failure)
    return task


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (fault := task.exception()):
        _log.error("Background work of this worker has ended", exc_info=fault)


async def done_within(future: "asyncio.Future[Any]", seconds: float) -> bool:
    """Wait so many seconds for a future or task to be done, and return whether it is.
    It goes on if the caller is cancelled or the time runs out. `asyncio.wait`, which
    serves several futures, takes twice as long.

    >>> async def example():
    ...     future = asyncio.get_running_loop().create_future()
    ...     return await done_within(future, 0.0), future.cancelled()
    >>> asyncio.run(example())
    (False, False)
    """
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    timer = loop.call_later(seconds, end)
    future.add_done_callback(end)
    try:
        await over
    finally:
        timer.cancel()
        future.remove_done_callback(end)
    return future.done()
