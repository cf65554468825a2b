"""For how long each kind of request holds the loop."""

import contextlib
import time
from collections.abc import Callable, Iterator

from . import processes
from .cold import pages
from .load import Request, ask, drive, page_request
from .probe import probing
from .processes import Platform
from .report import Row
from .turns import Pace

CALL_SECONDS = 0.02


def held(pace: Pace) -> Iterator[Row]:
    """The longest step (one callback, or one run of a task to its next wait) and the
    longest turn (all steps between two looks for events) under each load, one worker
    on asyncio's own loop, in CPU time and in brackets on the wall clock. With many
    connections a turn holds many requests; a step never should.
    """
    loads: dict[str, Callable[[Platform, str], object]] = {
        "idle for two seconds": lambda _, url: drive(url, Request("/health"), 1, 2),
        "kept quiz, 100 connections": _kept("quiz", "identity", 100, pace),
        "kept all-attendance, 1000 connections": _kept(
            "all-attendance", "gzip", 1000, pace
        ),
        "cold pages one after the other": lambda source, url: ask(
            url, pages(source.newcomers(50))
        ),
        "300 students at once, cold": lambda source, url: ask(
            url, pages(source.newcomers(300)), at_once=300
        ),
        "one student 1000 times at once, cold": lambda source, url: ask(
            url, pages(source.newcomers(1)) * 1000, at_once=1000
        ),
    }
    with contextlib.ExitStack() as running:
        start = running.enter_context
        source = start(processes.platform(CALL_SECONDS))
        probe = start(probing())
        ours = start(processes.service(source, held=probe))
        ask(ours.url, pages(source.newcomers(48)), at_once=24)
        for name, load in loads.items():
            time.sleep(1)  # the connections of the load before are all closed
            probe.clear()
            load(source, ours.url)
            turn, turn_cpu, step, step_cpu = (1000 * s for s in probe.read())
            yield Row(
                name,
                f"step {step_cpu:.1f} ms ({step:.1f} ms)",
                f"turn {turn_cpu:.1f} ms ({turn:.1f} ms)",
            )


def _kept(
    page: str, encoding: str, connections: int, pace: Pace
) -> Callable[[Platform, str], object]:
    def load(source: Platform, url: str) -> object:
        request = page_request(page, source.newcomers(1)[0], encoding)
        return drive(url, request, connections, 2 * pace.seconds)

    return load
