"""A page that is not kept: one call for the course files, then one for each of fifteen
subjects side by side.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from tornado.curl_httpclient import CurlAsyncHTTPClient

from . import processes
from .kernel import cpu_seconds
from .load import Request, ask, median, page_request
from .processes import Platform, Server
from .report import Row, at_least, at_most
from .turns import Pace

TRIP_SECONDS = 0.2
MISSES_A_ROUND = 1000
PAGES_A_ROUND = 48  # twice each section, so that the platform has made every body


def trips(pace: Pace) -> Iterator[Row]:
    """A cold page where each call takes 200 ms, beside two calls one after the other:
    it cannot be had sooner. The ratio is the page's time by theirs.
    """
    with (
        processes.platform(TRIP_SECONDS) as source,
        processes.service(source) as ours,
    ):
        for _ in range(2):  # connections, and bodies of the platform
            ask(ours.url, pages(source.newcomers(24)), at_once=24)
        times = [
            seconds
            for _ in range(pace.rounds)
            for seconds in ask(ours.url, pages(source.newcomers(5))).seconds
        ]
    page = median(times)
    ratio = page / (2 * TRIP_SECONDS)
    yield Row(
        "page of 15 subjects, 200 ms a call",
        f"{1000 * page:.1f} ms, at most {1000 * max(times):.1f} ms",
        f"two round trips {2000 * TRIP_SECONDS:.0f} ms",
        ratio,
        at_most(1.05, ratio),
    )


def calls(pace: Pace) -> Iterator[Row]:
    """Cold pages where a call takes no time, beside a bare CurlAsyncHTTPClient that
    makes the same calls and throws the answers away; and beside the peers, which make
    pages of them too. In calls a second, one worker.
    """
    with contextlib.ExitStack() as running:
        source = running.enter_context(processes.platform())
        servers = _gatherers(running, source)
        for at_once, name in ((1, "one page after the other"), (10, "10 at a time")):

            def rate(server: Server, at_once: int = at_once) -> float:
                requests = pages(source.newcomers(PAGES_A_ROUND))
                source.calls()
                seconds = ask(server.url, requests, at_once).whole
                return source.calls() / seconds

            def bare(at_once: int = at_once) -> float:
                return asyncio.run(_bare(source, at_once))

            rates = _in_turns(
                pace.rounds,
                {
                    **{each.name: partial(rate, each) for each in servers},
                    "bare client": bare,
                },
            )
            mine = rates.pop("ours")
            for other in ("bare client", "FastAPI", "aiohttp"):
                ratio = median(a / b for a, b in zip(mine, rates[other], strict=True))
                yield Row(
                    f"cold pages, {name}",
                    f"{median(mine):.0f} calls/s",
                    f"{other} {median(rates[other]):.0f} calls/s",
                    ratio,
                    at_least(0.7, ratio) if other == "bare client" else None,
                )


def page_cpu(pace: Pace) -> Iterator[Row]:
    """CPU time of the one worker for a cold page of 15 subjects x 40 records, where
    a call takes no time; the ratio is the peer's by ours.
    """
    with contextlib.ExitStack() as running:
        source = running.enter_context(processes.platform(records=40))
        servers = _gatherers(running, source)
        for at_once, name in ((1, "one page after the other"), (10, "10 at a time")):

            def cpu(server: Server, at_once: int = at_once) -> float:
                requests = pages(source.newcomers(PAGES_A_ROUND))
                before = cpu_seconds(server.workers())
                ask(server.url, requests, at_once)
                return (cpu_seconds(server.workers()) - before) / len(requests)

            used = _in_turns(
                pace.rounds + 2, {each.name: partial(cpu, each) for each in servers}
            )
            mine = used.pop("ours")
            milliseconds = 1000 * median(mine)
            for peer, theirs in used.items():
                ratio = median(b / a for a, b in zip(mine, theirs, strict=True))
                yield Row(
                    f"cold page, {name}",
                    f"{milliseconds:.2f} ms, least {1000 * min(mine):.2f} ms",
                    f"{peer} {1000 * median(theirs):.2f} ms",
                    ratio,
                    at_most(2.2, milliseconds, " ms") if peer == "FastAPI" else None,
                )


def misses(pace: Pace) -> Iterator[Row]:
    """The summary of students whom nobody has seen yet, which takes one call, beside a
    bare Tornado handler that makes the same call and passes its answer on; one worker,
    20 at a time.
    """
    with (
        processes.platform() as source,
        processes.service(source) as ours,
        processes.bare_tornado(source, 1) as bare,
    ):

        def rate(server: Server) -> float:
            requests = pages(source.newcomers(MISSES_A_ROUND), "attendance")
            return len(requests) / ask(server.url, requests, at_once=20).whole

        rates = _in_turns(
            pace.rounds, {each.name: partial(rate, each) for each in (ours, bare)}
        )
    mine, theirs = rates.values()
    ratio = median(a / b for a, b in zip(mine, theirs, strict=True))
    yield Row(
        "GET /api/attendance, a miss",
        f"{median(mine):.0f}/s",
        f"bare Tornado {median(theirs):.0f}/s",
        ratio,
        at_least(1.0, ratio),
    )


def _gatherers(running: contextlib.ExitStack, source: Platform) -> list[Server]:
    """Ours and the peers that make pages too, one worker each."""
    return [
        running.enter_context(server)
        for server in (
            processes.service(source),
            processes.fastapi(source, 1),
            processes.aiohttp(source, 1),
        )
    ]


def _in_turns(
    rounds: int, sides: Mapping[str, Callable[[], float]]
) -> dict[str, list[float]]:
    """The figures of each side, by its name, after one round to warm up."""
    for measure in sides.values():
        measure()
    turns = [[measure() for measure in sides.values()] for _ in range(rounds)]
    figures = map(list, zip(*turns, strict=True))
    return dict(zip(sides, figures, strict=True))


def pages(tokens: list[str], page: str = "all-attendance") -> list[Request]:
    """A page, for each of these students, packed as browsers ask for it; by default
    that of all subjects.
    """
    return [page_request(page, token, "gzip") for token in tokens]


async def _bare(source: Platform, at_once: int) -> float:
    """Calls a second of a client that does nothing else."""
    client: CurlAsyncHTTPClient = CurlAsyncHTTPClient(
        force_instance=True, max_clients=100
    )
    made = 0
    gate = asyncio.Semaphore(at_once)

    async def call(path: str, token: str) -> None:
        nonlocal made
        await client.fetch(source.base + path, headers={"Authorization": token})
        made += 1

    async def page(token: str, student: int, courses: list[int]) -> None:
        async with gate:
            path = "/custom/getCFMappedWithStudentID?embed_attendance_summary=1"
            await call(path, token)
            path = "/cards?type=Attendance&sort_by=%2Bdatetime1&equalto___fk_student="
            await asyncio.gather(
                *(
                    call(f"{path}{student}&equalto___cf_id={cf}", token)
                    for cf in courses
                )
            )

    work = [
        (
            f"Bearer {token}",
            student.id,
            [c.cf_id for c in source.college.courses(student)],
        )
        for number, token in enumerate(source.newcomers(PAGES_A_ROUND))
        for student in [source.college.student(number)]
    ]
    began = time.perf_counter()
    await asyncio.gather(*(page(*one) for one in work))
    seconds = time.perf_counter() - began
    client.close()
    return made / seconds
