"""What it costs to be there: start, memory, and how work grows with a page's size."""

import asyncio
import time
from collections.abc import Iterator

from aims_server.app import Machine, build
from aims_server.deadline import Deadline
from aims_server.logs import AccessLog
from aims_server.metrics import Metrics
from aims_server.settings import Settings

from .load import ask, median
from .processes import platform, pss_megabytes, service
from .report import Row

STUDENTS = 3000
SIZES = [(5, 40), (15, 40), (50, 40), (15, 400), (15, 4000)]


def start() -> Iterator[Row]:
    """From the command to the first 200, two workers."""
    times = []
    for _ in range(7):
        began = time.perf_counter()
        with service("http://127.0.0.1:9/api", 2) as (url, _):
            ask(url, [("/health", "none")])
            times.append(time.perf_counter() - began)
    yield Row(
        "start to first 200, 2 workers",
        f"{median(times) * 1000:.0f} ms",
        goal="at most 200 ms",
    )


def memory() -> Iterator[Row]:
    """PSS of the whole family, idle and with 3000 students' pages asked for."""
    with platform(students=STUDENTS) as source, service(source.url, 2) as (url, pid):
        ask(url, [("/health", "none")])
        time.sleep(1)
        idle = pss_megabytes(pid)
        requests = [
            (path, source.token(n))
            for n in range(STUDENTS)
            for path in ("/api/attendance", "/api/all-attendance", "/api/quiz")
        ]
        failed = ask(url, requests, at_once=30).failed
        full = pss_megabytes(pid)
    yield Row("PSS, 2 workers, idle", f"{idle:.0f} MB", goal="at most 60 MB")
    yield Row(
        f"PSS, 2 workers, after {STUDENTS} students x 3 pages, CACHE_MAX_MB=64",
        f"{full:.0f} MB",
        f"{failed} failed",
    )


def growth() -> Iterator[Row]:
    """A cold page's work, and the longest hold of the loop, by the size of a page."""
    for subjects, records in SIZES:
        with platform(students=40, subjects=subjects, records=records) as source:
            pages = [source.token(n) for n in range(12)]
            seconds, hold = asyncio.run(_gather(source.url, pages))
        yield Row(
            f"cold page, {subjects} subjects x {records} records",
            f"{seconds * 1000:.0f} ms",
            f"loop held {hold * 1000:.1f} ms",
            goal="hold at most 10 ms" if (subjects, records) == (15, 400) else "",
        )


async def _gather(base: str, tokens: list[str]) -> tuple[float, float]:
    """Median seconds of a page, and the longest single step of the loop (median of
    the pages' longest), in a worker without its socket.
    """
    settings = Settings.from_mapping({"EXTERNAL_API_BASE": base})
    worker = build(settings, Machine(), metrics=Metrics(), access_log=AccessLog())
    steps = _Steps()
    times, holds = [], []
    for token in tokens:
        steps.longest = 0.0
        began = time.perf_counter()
        caller = worker.sessions.caller(token)
        await worker.service.all_attendance(caller, Deadline(10))
        times.append(time.perf_counter() - began)
        holds.append(steps.longest)
    await worker.close()
    return median(times[2:]), median(holds[2:])


class _Steps:
    """The longest run of one turn of the loop, by a look at the clock around its
    wait for events: what passes outside the wait was spent holding it.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._woke = time.perf_counter()
        loop = asyncio.get_running_loop()
        selector = loop._selector  # type: ignore[attr-defined]  # no public way in
        wait = selector.select

        def select(timeout: float | None = None) -> object:
            self.longest = max(self.longest, time.perf_counter() - self._woke)
            ready = wait(timeout)
            self._woke = time.perf_counter()
            return ready

        selector.select = select
