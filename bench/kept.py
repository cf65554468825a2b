"""Kept pages, which nearly every request of a day gets."""

import contextlib
import dataclasses
from collections.abc import Iterator

from . import processes
from .load import Request, page_request
from .processes import Platform
from .report import Row
from .turns import Pace, beside, warm

PAGES = ("quiz", "all-attendance")
ENCODINGS = ("identity", "gzip")
CONNECTIONS = (100, 1000)
WORKERS = (1, 2)


def kept(pace: Pace) -> Iterator[Row]:
    """GET of a kept page, in answers a second. The bare Tornado handler writes the
    same bytes on Tornado's default loop and does nothing else; FastAPI and aiohttp, on
    uvloop, keep pages by token in both encodings. Ours runs on uvloop where the extra
    ``fast`` is installed, and once more on asyncio's own loop. The clients share the
    CPUs with the servers.
    """
    with processes.platform() as source:
        token = source.newcomers(1)[0]
        requests = [
            page_request(page, token, kind) for page in PAGES for kind in ENCODINGS
        ]
        for workers in WORKERS:
            yield from _with(source, workers, requests, pace)


def _with(
    source: Platform, workers: int, requests: list[Request], pace: Pace
) -> Iterator[Row]:
    with contextlib.ExitStack() as running:
        start = running.enter_context
        ours = start(processes.service(source, workers))
        bodies = [processes.fetch(ours.url, request) for request in requests]
        bare = start(processes.bare_tornado(source, workers, *bodies))
        others = [
            start(processes.fastapi(source, workers)),
            start(processes.aiohttp(source, workers)),
        ]
        plain = start(processes.service(source, workers, fast=False))
        for server in (ours, *others, plain):
            warm(server, *requests[:1], *requests[len(ENCODINGS) :])
        warm(bare, Request("/0"))
        for number, request in enumerate(requests):
            ready = Request(f"/{number}", request.headers)
            for connections in CONNECTIONS:
                sides = [(ours, request), (bare, ready)]
                sides += [(other, request) for other in others]
                if connections == CONNECTIONS[0]:
                    sides.append((plain, request))
                yield from beside(
                    f"{page_title(request, len(bodies[number]))}, {workers} worker"
                    f"{'s' * (workers > 1)}, {connections} connections",
                    sides,
                    connections,
                    pace,
                    goals=_GOALS.get((workers, connections), {}),
                )


def access_log(pace: Pace) -> Iterator[Row]:
    """GET of a kept page with the access log at info, the default, beside the same with
    LOG_LEVEL=warning, which has no line for it; one worker, 100 connections.
    """
    with processes.platform() as source, contextlib.ExitStack() as running:
        token = source.newcomers(1)[0]
        ours = running.enter_context(processes.service(source))
        quiet = running.enter_context(processes.service(source, LOG_LEVEL="warning"))
        without = dataclasses.replace(quiet, name="without")
        for request in [page_request(page, token, "gzip") for page in PAGES]:
            size = len(processes.fetch(ours.url, request))
            yield from beside(
                page_title(request, size),
                [(ours, request), (without, request)],
                CONNECTIONS[0],
                pace,
                goals={"without": 0.9},
            )


# By workers and connections, then by peer: the least ratio.
_GOALS = {(2, 100): {"bare Tornado": 1.0, "FastAPI": 2.0}}


def page_title(request: Request, size: int) -> str:
    """The page, its encoding and its size on the wire."""
    page = request.path.rpartition("/")[2]
    return f"{page}, {request.headers['Accept-Encoding']} ({size / 1000:.1f} kB)"
