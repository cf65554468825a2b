"""Tasks of work that goes on until it is cancelled."""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

__all__ = ["watched_task"]

_log = logging.getLogger(__name__)


def watched_task(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """A task for its owner to hold and to cancel. Nobody awaits it, and asyncio tells
    of its failure only when it is freed: so it is logged here. It may begin amid a
    request, and is none of it: it has a context of its own, without a request's id.
    """
    task = asyncio.create_task(work, context=Context())
    task.add_done_callback(_tell_failure)
    return task


def _tell_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (fault := task.exception()):
        _log.error("Background work of this worker has ended", exc_info=fault)
