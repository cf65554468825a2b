"""Kept answers: the service beside a bare Tornado handler that writes the same bytes,
and beside FastAPI and aiohttp services that do the same job.
"""

import contextlib
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from .load import Rate, drive, median
from .processes import Platform, free_port, peer, platform, service
from .report import Row

ROUNDS = 3
SECONDS = 2.0


def kept() -> Iterator[Row]:
    """Cached GET of two pages, identity and gzip, 100 and 1000 connections."""
    with platform() as source:
        for workers in (1, 2):
            yield from _pages(source, workers)


def posts_and_probes() -> Iterator[Row]:
    """/health, and a kept page through the web framework, beside a bare handler."""
    with platform() as source, service(source.url, 1) as (ours, _):
        token = source.token(1)
        for path, headers in (
            ("/health", {}),
            ("/api/attendance?", _bearer(token)),
        ):
            drive(ours + path, 10, 0.5, headers)
            body = _body(ours + path, headers)
            with _bare(body, 1) as bare:
                yield _beside(f"GET {path}", (ours + path, bare), 100, headers)


def _pages(source: Platform, workers: int) -> Iterator[Row]:
    with service(source.url, workers) as (ours, _), _peers(source, workers) as peers:
        for page in ("quiz", "all-attendance"):
            for encoding in ("identity", "gzip"):
                headers = {**_bearer(source.token(1)), "Accept-Encoding": encoding}
                url = f"{ours}/api/{page}"
                for other in (ours, *peers.values()):
                    drive(f"{other}/api/{page}", 10, 0.5, headers)  # every worker's
                with _bare(_body(url, headers), workers) as bare:
                    what = f"kept {page}, {encoding}, {workers} worker(s)"
                    goal = "1.0" if workers == 2 else ""
                    yield _beside(
                        f"{what}: bare Tornado", (url, bare), 100, headers, goal
                    )
                    if encoding == "identity":
                        yield _beside(
                            f"{what}, 1000 connections", (url, bare), 1000, headers
                        )
                for name, other in peers.items():
                    pair = (url, f"{other}/api/{page}")
                    goal = "2.0" if (workers, name) == (2, "FastAPI") else ""
                    yield _beside(f"{what}: {name}", pair, 100, headers, goal)


def _beside(
    what: str,
    urls: tuple[str, str],
    connections: int,
    headers: dict[str, str],
    goal: str = "",
) -> Row:
    """Rounds in turn, so that what else the machine does falls on both."""
    rates: tuple[list[Rate], list[Rate]] = ([], [])
    for _ in range(ROUNDS):
        for url, found in zip(urls, rates, strict=True):
            found.append(drive(url, connections, SECONDS, headers))
    ours, other = (median(rate.per_second for rate in found) for found in rates)
    ratio = median(a.per_second / b.per_second for a, b in zip(*rates, strict=True))
    failed = sum(rate.failed for rate in rates[0])
    note = f", {failed} failed" if failed else ""
    return Row(what, f"{ours:.0f}/s{note}", f"{other:.0f}/s", ratio, goal)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _body(url: str, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request) as answer:
        body: bytes = answer.read()
    return body


@contextlib.contextmanager
def _bare(body: bytes, workers: int) -> Iterator[str]:
    port = free_port()
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(body)
        command = ["bench.peers.bare_tornado", str(port), str(workers), file.name]
        with peer(command, port) as url:
            yield f"{url}/bytes"


@contextlib.contextmanager
def _peers(source: Platform, workers: int) -> Iterator[dict[str, str]]:
    """FastAPI under uvicorn and aiohttp, each with as many workers."""
    fast, aio = free_port(), free_port()
    uvicorn = [
        *("uvicorn", "bench.peers.fastapi_service:app", "--port", str(fast)),
        *("--workers", str(workers), "--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "error"),
    ]
    aiohttp = ["bench.peers.aiohttp_service", str(aio), str(workers)]
    base = {"EXTERNAL_API_BASE": source.url}
    with peer(uvicorn, fast, **base) as a, peer(aiohttp, aio, **base) as b:
        yield {"FastAPI": a, "aiohttp": b}
