"""Requests other than GET of a page: the summary by POST, a login, a probe."""

import contextlib
import json
from collections.abc import Iterator

from . import processes
from .load import Request
from .report import Row
from .turns import Pace, beside, warm

CONNECTIONS = 100
JSON = {"Content-Type": "application/json"}


def posts(pace: Pace) -> Iterator[Row]:
    """POST of the kept summary, login and /health, two workers, 100 connections. The
    bare Tornado handler writes ready bytes, and passes a login on with Tornado's curl
    client. Logins are measured without the prefetch that follows one, and once with:
    that gathers three pages, 17 calls to the platform, for each.
    """
    with processes.platform() as source, contextlib.ExitStack() as running:
        start = running.enter_context
        summary = _posted("/api/attendance", {"token": source.newcomers(1)[0]})
        student = source.college.student(0)
        login = _posted(
            "/api/login",
            {"username": student.username, "password": student.password},
        )
        health = Request("/health")
        ours = start(processes.service(source, 2, PREFETCH_ON_LOGIN="false"))
        body = processes.fetch(ours.url, summary)
        bare = start(processes.bare_tornado(source, 2, body))
        peers = [
            start(processes.fastapi(source, 2)),
            start(processes.aiohttp(source, 2)),
        ]
        for server in (ours, *peers):
            warm(server, summary)
        for name, request, ready, goals in (
            ("POST /api/attendance", summary, Request("/0", JSON, summary.body), None),
            ("POST /api/login", login, login, {"bare Tornado": 1.0}),
            ("GET /health", health, health, {"FastAPI": 1.0}),
        ):
            sides = [(ours, request), (bare, ready), *((p, request) for p in peers)]
            yield from beside(name, sides, CONNECTIONS, pace, goals)
        eager = start(processes.service(source, 2))
        yield from beside(
            "POST /api/login, prefetch off beside on",
            [(ours, login), (eager, login)],
            CONNECTIONS,
            pace,
        )


def _posted(path: str, fields: dict[str, str]) -> Request:
    return Request(path, JSON, json.dumps(fields).encode())
