"""Cold pages: how near to two round trips, how near to a bare client, and what a crowd
of students costs the platform.
"""

import asyncio
import time
from collections.abc import Iterator

from tornado.curl_httpclient import CurlAsyncHTTPClient

from .load import ask, median, percentile
from .processes import Platform, platform, service
from .report import Row

PAGES = 15
TRIP_SECONDS = 0.2


def page_beside_two_trips() -> Iterator[Row]:
    """A page of 15 subjects at 200 ms a call, from nothing."""
    with platform(TRIP_SECONDS) as source, service(source.url, 1) as (url, _):
        times = ask(url, _pages(source, 0, PAGES + 1)).seconds[1:]
    page, trips = median(times), 2 * TRIP_SECONDS
    yield Row(
        "cold page at 200 ms a call: two round trips",
        f"{page * 1000:.0f} ms",
        f"{trips * 1000:.0f} ms",
        page / trips,
        "at most 1.05",
    )


def page_beside_a_bare_client() -> Iterator[Row]:
    """Pages at 0 ms a call; a bare curl client makes the same calls, in turn."""
    ratios, ours, others = [], [], []
    with platform() as source, service(source.url, 1) as (url, _):
        ask(url, _pages(source, 0, 10))
        for number in range(5):
            first = 100 + number * 40
            source.reset()
            page = ask(url, _pages(source, first, 40)).whole
            calls = source.calls()
            bare = asyncio.run(_bare_calls(source, first, 40))
            ours.append(calls / page)
            others.append(calls / bare)
            ratios.append(bare / page)
    yield Row(
        "cold pages at 0 ms: bare CurlAsyncHTTPClient",
        f"{median(ours):.0f} calls/s",
        f"{median(others):.0f} calls/s",
        median(ratios),
        "0.7",
    )


def crowd() -> Iterator[Row]:
    """1000 students at once, cold, at 20 ms a call."""
    with platform(0.02) as source:
        limit = {"REQUEST_TIMEOUT_SECONDS": "60", "MAX_CONCURRENT_REQUESTS": "200"}
        with service(source.url, 2, **limit) as (url, _):
            answers = ask(url, _pages(source, 0, 1000), at_once=1000)
            calls = source.calls()
    yield Row(
        "1000 students at once, cold, 20 ms: pages",
        f"{1000 / answers.whole:.0f}/s, p99 {percentile(answers.seconds, 0.99):.1f} s",
        f"{calls} calls, {answers.failed} failed",
    )


def one_student() -> Iterator[Row]:
    """One student asked for 1000 times at once, cold."""
    with platform(0.02) as source, service(source.url, 1) as (url, _):
        pages = [("/api/all-attendance", source.token(7))] * 1000
        answers = ask(url, pages, at_once=1000)
        calls = source.calls()
    yield Row(
        "one student 1000 times at once, cold",
        f"{answers.whole:.2f} s in all",
        f"{calls} calls, {answers.failed} failed",
    )


def _pages(source: Platform, first: int, number: int) -> list[tuple[str, str]]:
    return [
        ("/api/all-attendance", source.token(n)) for n in range(first, first + number)
    ]


async def _bare_calls(source: Platform, first: int, number: int) -> float:
    """Seconds that the calls of these pages take a client that does nothing else."""
    client: CurlAsyncHTTPClient = CurlAsyncHTTPClient(
        force_instance=True, max_clients=100
    )
    college = source.college
    began = time.perf_counter()
    for n in range(first, first + number):
        student = college.student(n)
        headers = {"Authorization": f"Bearer {source.token(n)}"}
        await client.fetch(
            f"{source.url}/custom/getCFMappedWithStudentID?embed_attendance_summary=1",
            headers=headers,
        )
        await asyncio.gather(
            *(
                client.fetch(
                    f"{source.url}/cards?type=Attendance&sort_by=%2Bdatetime1"
                    f"&equalto___fk_student={student.id}"
                    f"&equalto___cf_id={course.cf_id}",
                    headers=headers,
                )
                for course in college.courses(student)
            )
        )
    seconds = time.perf_counter() - began
    client.close()
    return seconds
