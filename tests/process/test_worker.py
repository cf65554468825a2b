"""What a worker does beside answering."""

import asyncio
import gc
import mmap
import time
import weakref
from pathlib import Path

from aims_server.process.background import (
    collect_garbage_when_idle,
    return_memory_when_idle,
)

from ..virtual_time import Clock, VirtualLoop


class Ring:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.ring = self


def work(seconds: float) -> None:
    """Use so much of the processor's time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def seconds_until_collected(busy: range) -> float:
    """When old garbage goes, in a worker that is busy in these seconds."""
    clock = Clock()
    started_at = clock()
    loop = VirtualLoop(clock)
    gone_at: list[float] = []

    async def run() -> None:
        collecting = asyncio.create_task(collect_garbage_when_idle())
        ring = weakref.finalize(Ring(), lambda: gone_at.append(float(clock())))
        for second in range(300):
            if second in busy:
                work(0.06)
            await asyncio.sleep(1.0)
            if not ring.alive:
                break
        collecting.cancel()

    enabled, thresholds = gc.isenabled(), gc.get_threshold()
    gc.disable()  # the worker's own thresholds keep old garbage for long
    gc.freeze()  # what earlier tests have left is not looked at
    try:
        loop.run_until_complete(run())
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        if enabled:
            gc.enable()
        loop.close()
    return gone_at[0] - float(started_at)


def test_garbage_goes_within_a_minute_when_idle():
    """A full collection comes, though nothing is allocated."""
    assert 50 <= seconds_until_collected(range(0)) <= 60


def test_garbage_waits_while_there_is_work():
    """A collection holds the loop, so it comes with the first idle second."""
    assert 65 <= seconds_until_collected(range(50, 65)) <= 70


def resident_bytes() -> int:
    """How much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def bytes_returned(seconds: float, *, busy: bool) -> int:
    """How much of 40 MB that were freed is returned in this time."""
    loop = VirtualLoop(Clock())

    async def run() -> int:
        returning = asyncio.create_task(return_memory_when_idle())
        await asyncio.sleep(10.0)
        blocks = [b"x" * 50_000 for _ in range(800)]
        work(0.03)
        del blocks[:-1]  # the last one holds what lies before it
        before = resident_bytes()
        for _ in range(round(10 * seconds)):
            await asyncio.sleep(0.1)
            if busy:
                work(0.03)
        returning.cancel()
        return before - resident_bytes()

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def test_free_memory_is_returned_within_a_second_of_the_last_work():
    """Free memory between used blocks is returned too."""
    assert bytes_returned(1.0, busy=False) > 20_000_000


def test_free_memory_stays_while_there_is_work():
    """The next request takes it again."""
    assert bytes_returned(2.0, busy=True) < 20_000_000
