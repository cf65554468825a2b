"""Time to start, and memory."""

import os
import time
from collections.abc import Iterator

from aims_server.app import Machine
from aims_server.cache import Page, Want
from aims_server.config import Settings

from . import processes
from .kernel import pss_megabytes
from .load import ask, median, page_request
from .report import Row, at_least, at_most
from .turns import Pace

STUDENTS = 3000
MANY_STUDENTS = 20_000
SHARED_MB = 256
# The packed answers of one student, as the demo's college gives them: course files,
# attendance, quizzes, all-attendance (bytes).
SIZES = (600, 800, 900, 7300)


def start(pace: Pace) -> Iterator[Row]:
    """From the command to the first 200 of /health, two workers; the peers in turn."""
    with processes.platform() as source:
        seconds: dict[str, list[float]] = {}
        for turn in range(pace.rounds + 2):
            for starting in (
                processes.service(source, 2),
                processes.bare_tornado(source, 2),
                processes.fastapi(source, 2),
                processes.aiohttp(source, 2),
            ):
                with starting as server:
                    seconds.setdefault(server.name, []).append(server.seconds)
            if not turn:
                seconds.clear()  # it wrote the byte code
    ours = 1000 * median(seconds.pop("ours"))
    others = [f"{name} {1000 * median(s):.0f} ms" for name, s in seconds.items()]
    yield Row(
        "start to first 200, 2 workers",
        f"{ours:.0f} ms",
        ", ".join(others),
        goal=at_most(100, ours, " ms"),
    )


def memory(_: Pace) -> Iterator[Row]:
    """PSS of all processes together, two workers: idle after one request to each, and
    when 3000 students have asked for three pages each, as browsers do, packed; and
    what of that is still kept: a second round asks the platform for nothing.
    """
    with processes.platform() as source:
        with processes.service(source, 2) as ours:
            idle = _idle(ours.pid)
            tokens = source.newcomers(STUDENTS)
            requests = [
                page_request(page, token, "gzip")
                for token in tokens
                for page in ("attendance", "all-attendance", "quiz")
            ]
            ask(ours.url, requests, at_once=30)
            time.sleep(1)
            full = pss_megabytes(ours.pid)
            source.calls()
            ask(ours.url, requests, at_once=30)
            again = source.calls()
        with processes.fastapi(source, 2) as fastapi:
            other = _idle(fastapi.pid)
    yield Row(
        "PSS, idle",
        f"{idle:.0f} MB",
        f"FastAPI {other:.0f} MB",
        goal=at_most(60, idle, " MB"),
    )
    yield Row(
        f"PSS after {STUDENTS} students x 3 pages",
        f"{full:.0f} MB",
        f"{again} calls for the same again",
        goal=at_most(90, full, " MB"),
    )
    yield _room()


def _room() -> Row:
    """How many of so many students' pages a machine holds with CACHE_SHARED_MB=256:
    random bytes in place of pages, since to gather them takes minutes.
    """
    pages = Machine(Settings(cache_shared_mb=SHARED_MB)).pages
    assert pages is not None
    keys = [
        (f"{student} {part}".encode(), b"%032d" % student, size)
        for student in range(MANY_STUDENTS)
        for part, size in enumerate(SIZES)
    ]
    now = time.monotonic()
    for key, owner, size in keys:
        taken = pages.take(key, owner, Want(), seconds=60.0)
        assert taken.lease is not None
        page = Page(os.urandom(size), now, now + 3600, now + 3600)
        pages.put(taken.lease, page)
    kept = sum(
        pages.take(key, owner, Want(), seconds=60.0).page is not None
        for key, owner, _ in keys
    )
    share = kept / len(keys)
    return Row(
        f"pages of {MANY_STUDENTS} students kept in CACHE_SHARED_MB={SHARED_MB}",
        f"{100 * share:.1f} %",
        f"{pages.bytes_written / 2**20:.0f} MB of bodies",
        goal=at_least(0.999, share),
    )


def _idle(pid: int) -> float:
    time.sleep(2)
    return pss_megabytes(pid)
