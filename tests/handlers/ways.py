"""A request by the fast path and by its handler, and all that is told of it."""

import json
import re
from typing import Any, NamedTuple

import pytest

from .browser import SLOW_PATH, without_time

WAYS = [pytest.param({}, id="fast"), pytest.param(SLOW_PATH, id="handler")]
# What no two lines tell alike; of each only whether it is there.
_MEASURED = ("time", "seconds", "upstreamSeconds")


def access_line(lines):
    """The line that tells of a request; there must be one."""
    (line,) = (line for line in lines.told() if "route" in line)
    assert line["seconds"] >= line.get("upstreamSeconds", 0) >= 0
    return {**line, **{name: None for name in _MEASURED if name in line}}


class Told(NamedTuple):
    """What is told of a request and is the same whenever it is answered."""

    status: int
    headers: dict[str, str]
    timing: str
    quota: str
    body: bytes
    line: dict[str, Any]


class Ways:
    """Asks by either way, and reads all that is told of it: to the client, in the log
    and in the counts.
    """

    def __init__(self, taken, worker, access_lines):
        self._taken = taken
        self._worker = worker
        self._lines = access_lines

    async def told(self, way, ask):
        """Have ``ask`` send a request with these headers among its own."""
        before, taken = self._requests(), len(self._taken)
        self._lines.forget()
        answer = await ask({"X-Request-Id": "r", **way})
        after = self._requests()
        assert (len(self._taken) > taken) == (SLOW_PATH.items().isdisjoint(way.items()))
        assert after["total"] - before["total"] == 1
        assert after["inProgress"] == 0
        status, headers, body = answer.lasting
        headers.pop("content-length", None)
        return Told(
            status,
            headers,
            re.sub(r"[\d.]+", "", answer.headers["server-timing"]),
            answer.headers.get("ratelimit", "").partition(";t=")[0],
            without_time(body),
            access_line(self._lines),
        )

    async def both(self, ask):
        """What is told by the fast path, and then by the handler."""
        return [await self.told(way, ask) for way in ({}, SLOW_PATH)]

    def _requests(self):
        return json.loads(self._worker.metrics.summary())["requests"]
