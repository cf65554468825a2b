"""Load on a server: wrk where it is installed, aiohttp's client where it is not; and
single askers for cold pages.
"""

import asyncio
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Rate:
    """What a load came to: answers a second, the 99th percentile in seconds, and how
    many answers were no 2xx or never came.
    """

    per_second: float
    p99: float
    failed: int


def drive(url: str, connections: int, seconds: float, headers: dict[str, str]) -> Rate:
    """Ask one address again and again on this many kept connections."""
    if shutil.which("wrk"):
        return _wrk(url, connections, seconds, headers)
    return asyncio.run(_loop(url, connections, seconds, headers))


def _wrk(url: str, connections: int, seconds: float, headers: dict[str, str]) -> Rate:
    sent = [part for name in headers for part in ("-H", f"{name}: {headers[name]}")]
    run = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"),
            *("--timeout", "20s", *sent, url),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    text = run.stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    lost = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(wrong[1]) if wrong else 0
    failed += sum(map(int, lost.groups())) if lost else 0
    assert rate is not None
    return Rate(float(rate[1]), float(p99[1]) * UNITS[p99[2]] if p99 else 0.0, failed)


async def _loop(
    url: str, connections: int, seconds: float, headers: dict[str, str]
) -> Rate:
    times: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while time.perf_counter() < end:
            began = time.perf_counter()
            try:
                async with session.get(url, headers=headers) as answer:
                    await answer.read()
                    failed += answer.status >= 300
            except aiohttp.ClientError:
                failed += 1
            times.append(time.perf_counter() - began)

    async with _session() as session:
        await asyncio.gather(*(one(session) for _ in range(connections)))
    return Rate(len(times) / seconds, percentile(times, 0.99), failed)


@dataclass(frozen=True)
class Answers:
    """What each of some single requests took, in seconds, and how many failed."""

    seconds: list[float]
    whole: float
    failed: int


def ask(url: str, requests: Iterable[tuple[str, str]], at_once: int = 1) -> Answers:
    """Ask for ``(path, token)`` pairs, so many at once."""
    return asyncio.run(_ask(url, list(requests), at_once))


async def _ask(url: str, requests: list[tuple[str, str]], at_once: int) -> Answers:
    gate = asyncio.Semaphore(at_once)
    failed = 0

    async def one(session: aiohttp.ClientSession, path: str, token: str) -> float:
        nonlocal failed
        async with gate:
            began = time.perf_counter()
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(url + path, headers=headers) as answer:
                await answer.read()
                failed += answer.status != 200
            return time.perf_counter() - began

    async with _session() as session:
        began = time.perf_counter()
        seconds = await asyncio.gather(*(one(session, *each) for each in requests))
        return Answers(list(seconds), time.perf_counter() - began, failed)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(60),
        auto_decompress=False,
    )


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies; nan of nothing."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)] if ordered else float("nan")


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)
