"""Load on a server: wrk where it is installed, aiohttp's client where it is not; and
single askers for pages that are asked for once.
"""

import asyncio
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import uvloop

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
PATIENCE_SECONDS = 30
INCOMPLETE = b'"incomplete":["'  # a page of ours that lacks a subject

Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """What is asked: a path, headers, and for a POST a body."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def method(self) -> str:
        """GET, or POST where there is a body."""
        return "GET" if self.body is None else "POST"


def page_request(page: str, token: str, encoding: str = "") -> Request:
    """The GET of a student's page, in this encoding or in one that the client takes."""
    headers = {"Authorization": f"Bearer {token}"}
    if encoding:
        headers["Accept-Encoding"] = encoding
    return Request(f"/api/{page}", headers)


@dataclass(frozen=True)
class Rate:
    """The result of a load: answers a second, the 99th percentile in seconds, and how
    many answers were no 2xx or never came.
    """

    per_second: float
    p99: float
    failed: int


def drive(base: str, request: Request, connections: int, seconds: int) -> Rate:
    """Make one request again and again on this many kept connections."""
    if shutil.which("wrk"):
        return _wrk(base, request, connections, seconds)
    return run(_loop(base, request, connections, seconds))


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a client on the fastest loop there is: it shares the CPUs with the server."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _wrk(base: str, request: Request, connections: int, seconds: int) -> Rate:
    options = [f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    for name, value in request.headers.items():
        options += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if request.body is not None:
            body = json.dumps(request.body.decode("latin-1"))
            script.write(f'wrk.method = "POST"\nwrk.body = {body}\n')
            script.flush()
            options += ["-s", script.name]
        done = subprocess.run(
            ["wrk", "-t1", *options, base + request.path],
            capture_output=True,
            text=True,
            check=True,
        )
    return read_wrk(done.stdout)


def read_wrk(text: str) -> Rate:
    """What wrk's report says; raises ValueError for anything else."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if rate is None or p99 is None:
        raise ValueError(f"no report of wrk:\n{text}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    lost = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(wrong[1]) if wrong else 0
    failed += sum(map(int, lost.groups())) if lost else 0
    return Rate(float(rate[1]), float(p99[1]) * UNITS[p99[2]], failed)


async def _loop(base: str, request: Request, connections: int, seconds: int) -> Rate:
    times: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def again_and_again(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while time.perf_counter() < end:
            began = time.perf_counter()
            failure = await _failure(session, base, request)
            failed += bool(failure)
            times.append(time.perf_counter() - began)

    async with _session() as session:
        await asyncio.gather(*(again_and_again(session) for _ in range(connections)))
    return Rate(len(times) / seconds, percentile(times, 0.99), failed)


@dataclass(frozen=True)
class Answers:
    """How many seconds each of some single requests took, and all together, and how
    often which failure occurred.
    """

    seconds: list[float]
    whole: float
    failures: Counter[str]


def ask(base: str, requests: Iterable[Request], at_once: int = 1) -> Answers:
    """Make every request once, so many at a time; raises RuntimeError if one fails."""
    answers = try_asking(base, requests, at_once)
    if answers.failures:
        raise RuntimeError(f"requests failed at {base}: {answers.failures}")
    return answers


def try_asking(base: str, requests: Iterable[Request], at_once: int = 1) -> Answers:
    """Make every request once, so many at a time; some may fail."""
    return run(_ask(base, list(requests), at_once))


async def _ask(base: str, requests: list[Request], at_once: int) -> Answers:
    gate = asyncio.Semaphore(at_once)
    failures: Counter[str] = Counter()

    async def one(session: aiohttp.ClientSession, request: Request) -> float:
        async with gate:
            began = time.perf_counter()
            failures[await _failure(session, base, request)] += 1
            return time.perf_counter() - began

    async with _session() as session:
        began = time.perf_counter()
        seconds = await asyncio.gather(*(one(session, each) for each in requests))
        del failures[""]
        return Answers(list(seconds), time.perf_counter() - began, failures)


async def _failure(session: aiohttp.ClientSession, base: str, request: Request) -> str:
    """What went wrong; nothing if it was answered with a 200, and in full."""
    try:
        async with session.request(
            request.method,
            base + request.path,
            headers=request.headers,
            data=request.body,
        ) as answer:
            if answer.status != 200:
                return str(answer.status)
            return "incomplete" if INCOMPLETE in await answer.read() else ""
    except (aiohttp.ClientError, TimeoutError) as fault:
        return type(fault).__name__


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(PATIENCE_SECONDS),
        auto_decompress=False,
    )


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies; nan if there are none."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)] if ordered else float("nan")


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)
