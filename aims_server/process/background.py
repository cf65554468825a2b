"""A worker's background work: it samples metrics, expires entries, collects garbage and
returns free memory.
"""

import asyncio
import ctypes
import gc
import html
import textwrap
import time
from typing import Final

from ..app import Worker
from ..logs import AccessLog
from ..metrics import Metrics

__all__ = [
    "collect_garbage_rarely",
    "collect_garbage_when_idle",
    "prepare",
    "return_memory_when_idle",
    "sample_and_expire",
    "watch_lag",
]

_PREPARE_SECONDS: Final = 0.002  # clients that waited for a worker are answered first
_LAG_SECONDS: Final = 0.1
# A collection holds the loop: 3 ms at most while the young generation is small, 20 to
# 80 ms for one of 200 000 objects under load. A full one visits every kept object and
# was never seen to find any garbage, so it is rare.
_GC_THRESHOLDS: Final = (2_000, 5, 10_000)
_GC_SECONDS: Final = 55.0
_IDLE_SHARE: Final = 0.05  # of a core
_TRIM_SECONDS: Final = 0.25
# malloc itself returns only the free end of the heap. After twelve pages of 15 subjects
# of 4000 records 147 MB are left, after this 111; it takes 3 ms. musl does not have it.
_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


async def prepare(worker: Worker) -> None:
    """Do what the first call to the platform would have to wait for, and run modules
    that a start left unrun: later there may be no file left to open.
    """
    await asyncio.sleep(_PREPARE_SECONDS)
    worker.upstream.prepare()
    html.unescape("&amp;")
    textwrap.indent("", "")


async def watch_lag(metrics: Metrics) -> None:
    """Measure how much a sleep overruns: for so long something blocked the loop."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        metrics.loop_lagged(max(0.0, loop.time() - due))


async def sample_and_expire(worker: Worker, access_log: AccessLog) -> None:
    """Sample the gauges once a second, and do what otherwise waits for traffic."""
    while True:
        worker.sample()
        worker.metrics.log_lines_lost(access_log.lost_lines)
        await asyncio.sleep(1.0)
        worker.kept.memory.expire()
        access_log.flush()


def collect_garbage_rarely() -> None:
    """Let garbage collection hold a busy loop for 3 ms at most."""
    gc.set_threshold(*_GC_THRESHOLDS)


async def collect_garbage_when_idle() -> None:
    """Make a full collection once a minute, in a second without other work, since it
    holds the loop for longer than a request may wait.
    """
    loop = asyncio.get_running_loop()
    collected_at = loop.time()
    while True:
        idle = await _idle(1.0)
        if idle and loop.time() - collected_at >= _GC_SECONDS:
            gc.collect()
            collected_at = loop.time()


async def return_memory_when_idle() -> None:
    """Return free memory to the system whenever work has ended."""
    worked = True
    while _malloc_trim is not None:
        idle = await _idle(_TRIM_SECONDS)
        if idle and worked:
            _malloc_trim(0)
        worked = not idle


async def _idle(seconds: float) -> bool:
    """Whether there is no other work for so many seconds."""
    used = time.process_time()
    await asyncio.sleep(seconds)
    return time.process_time() - used < _IDLE_SHARE * seconds
