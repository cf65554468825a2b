"""Times every turn and every step of asyncio's loop in a process that starts with this
directory in PYTHONPATH: Python imports a module of this name before anything else.

A turn goes from one look for events to the next, a step is one callback or one run of
a task to its next wait; who comes in the meantime waits. The longest of each, on the
wall clock and in CPU time of the thread, stand in the file HELD_FILE, which all
processes of a family share: a machine that is short of CPUs lengthens the first only.
"""

import mmap
import os
import selectors
import struct
from asyncio import events
from time import perf_counter, thread_time
from typing import Any

LONGEST = struct.Struct("4d")
TURN, STEP = 0, 2


def install(path: str) -> None:
    """Begin to measure, into this file."""
    with open(path, "r+b") as file:
        shared = mmap.mmap(file.fileno(), LONGEST.size)
    cells = memoryview(shared).cast("d")

    def note(kind: int, wall: float, cpu: float) -> None:
        if wall > cells[kind]:
            cells[kind] = wall
        if cpu > cells[kind + 1]:
            cells[kind + 1] = cpu

    wait, step = selectors.EpollSelector.select, events.Handle._run
    woke: list[float] = []

    def select(self: selectors.EpollSelector, timeout: float | None = None) -> Any:
        if woke:
            note(TURN, perf_counter() - woke[0], thread_time() - woke[1])
        ready = wait(self, timeout)
        woke[:] = perf_counter(), thread_time()
        return ready

    def run(self: events.Handle) -> None:
        wall, cpu = perf_counter(), thread_time()
        step(self)
        note(STEP, perf_counter() - wall, thread_time() - cpu)

    # The probe replaces methods of both, which mypy rightly calls an assignment to a
    # method; there is no other way in.
    selectors.EpollSelector.select = select  # type: ignore[assignment,method-assign]  # see above
    events.Handle._run = run  # type: ignore[method-assign]  # see above


if "HELD_FILE" in os.environ:
    install(os.environ["HELD_FILE"])
