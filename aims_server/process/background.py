"""What a worker does beside answering: it measures, lets what is kept expire, collects
garbage and returns free memory.
"""

import asyncio
import ctypes
import gc
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
# 80 ms for one of 200 000 objects under load. A full one walks through everything that
# is kept and was never seen to find anything, so it is made rare.
_GC_THRESHOLDS: Final = (2_000, 5, 10_000)
_GC_SECONDS: Final = 55.0
_IDLE_SHARE: Final = 0.05  # of a core
_TRIM_SECONDS: Final = 0.25
# malloc itself returns only what is free at the end of the heap: twelve pages of 15
# subjects of 4000 records leave 147 MB, 111 after this, in 3 ms. musl has none of it.
_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


async def prepare(worker: Worker) -> None:
    """Do what the first call to the platform would wait for."""
    await asyncio.sleep(_PREPARE_SECONDS)
    worker.upstream.prepare()


async def watch_lag(metrics: Metrics) -> None:
    """Measure by how much a sleep overruns: how long something blocked the loop."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_SECONDS
        await asyncio.sleep(_LAG_SECONDS)
        metrics.loop_lagged(max(0.0, loop.time() - due))


async def sample_and_expire(worker: Worker, access_log: AccessLog) -> None:
    """Once a second: sample the gauges, and do what otherwise waits for traffic."""
    while True:
        worker.sample()
        worker.metrics.log_lines_lost(access_log.lost_lines)
        await asyncio.sleep(1.0)
        worker.store.expire()
        access_log.flush()


def collect_garbage_rarely() -> None:
    """Have the collector hold the loop for 3 ms at most while the service is busy."""
    gc.set_threshold(*_GC_THRESHOLDS)


async def collect_garbage_when_idle() -> None:
    """Look for garbage of all ages once a minute, in a second without other work.

    A full collection holds the loop for longer than a request may wait.
    """
    loop = asyncio.get_running_loop()
    collected_at = loop.time()
    while True:
        idle = await _idle(1.0)
        if idle and loop.time() - collected_at >= _GC_SECONDS:
            gc.collect()
            collected_at = loop.time()


async def return_memory_when_idle() -> None:
    """Return free memory to the system once work has ended."""
    worked = True
    while _malloc_trim is not None:
        idle = await _idle(_TRIM_SECONDS)
        if idle and worked:
            _malloc_trim(0)
        worked = not idle


async def _idle(seconds: float) -> bool:
    """Whether there is no other work for so long."""
    used = time.process_time()
    await asyncio.sleep(seconds)
    return time.process_time() - used < _IDLE_SHARE * seconds
