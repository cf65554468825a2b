"""Memory, files and calls by number of students: the table of docs/operations.rst."""

import time
from collections.abc import Iterator
from pathlib import Path

from . import processes
from .kernel import pss_megabytes
from .load import ask, page_request
from .report import Row
from .turns import Pace

WORKERS = (1, 2)
STUDENTS = (100, 1000)
TTL_SECONDS = 300  # CACHE_TTL_SECONDS
PAGES = ("attendance", "all-attendance", "quiz")


def capacity(_: Pace) -> Iterator[Row]:
    """Students who read three pages each, 30 at a time, a call taking no time: memory
    of all processes (PSS), open files of all workers at the end, calls to the platform
    a minute if they go on reading all day (one gathering per student and
    CACHE_TTL_SECONDS), and the pages a second in which the first of all was made.
    """
    for workers in WORKERS:
        for students in STUDENTS:
            yield _measured(workers, students)


def _measured(workers: int, students: int) -> Row:
    with (
        processes.platform() as source,
        processes.service(source, workers) as ours,
    ):
        requests = [
            page_request(page, token)
            for token in source.newcomers(students)
            for page in PAGES
        ]
        source.calls()
        began = time.monotonic()
        ask(ours.url, requests, at_once=30)
        seconds = time.monotonic() - began
        calls = source.calls()
        files = sum(len(list(Path(f"/proc/{p}/fd").iterdir())) for p in ours.workers())
        memory = pss_megabytes(ours.pid)
    return Row(
        f"{students} students, {workers} worker{'s' * (workers > 1)}",
        f"{memory:.0f} MB, {files} files",
        f"{calls * 60 / TTL_SECONDS:.0f} calls a minute,"
        f" {len(requests) / seconds:.0f} new pages a second",
    )
