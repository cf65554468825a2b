"""How the work for a page grows with its size, and for how long one holds the loop."""

import contextlib
from collections.abc import Iterator
from itertools import product

from aims_server.demo.enrolment import COHORTS

from . import processes
from .cold import pages
from .kernel import cpu_seconds
from .load import Answers, ask, median
from .probe import probing
from .processes import Platform, Server
from .report import Row, at_most
from .turns import Pace

SUBJECTS = (5, 15, 50)
RECORDS = (40, 400, 4000)
PAGES = 8


def scale(_: Pace) -> Iterator[Row]:
    """A cold page by its size, a call taking no time, one worker on asyncio's own loop:
    the worker's CPU time, the answer's time, and the longest that the loop was held
    between two looks for events, in CPU time: the worst of all pages, and in brackets
    on the wall clock, the median of the pages' worst. docs/scale.rst has what the
    largest consists of.
    """
    for subjects, records in product(SUBJECTS, RECORDS):
        yield _measured(subjects, records)


def _measured(subjects: int, records: int) -> Row:
    with contextlib.ExitStack() as running:
        start = running.enter_context
        source = start(processes.platform(subjects=subjects, records=records))
        held = start(probing())
        ours = start(processes.service(source, held=held, CACHE_MAX_MB="1024"))
        for _ in range(2):  # connections, and bodies of the platform
            _ask_for_one(ours, source)
        workers = ours.workers()
        cpu, times, walls, cpus = cpu_seconds(workers), [], [], []
        for _ in range(PAGES):
            held.clear()
            times += _ask_for_one(ours, source).seconds
            turn, turn_cpu, _, _ = held.read()
            walls.append(turn)
            cpus.append(turn_cpu)
        cpu = (cpu_seconds(workers) - cpu) / PAGES
    longest = 1000 * max(cpus)
    return Row(
        f"{subjects} subjects x {records} records",
        f"{1000 * cpu:.0f} ms CPU, {1000 * median(times):.0f} ms",
        f"loop held {longest:.1f} ms ({1000 * median(walls):.1f} ms)",
        goal=at_most(10, longest, " ms"),
    )


def _ask_for_one(server: Server, source: Platform) -> Answers:
    """The page of a newcomer, always of one cohort, whose records the platform has."""
    return ask(server.url, pages(source.newcomers(COHORTS)[:1]))
