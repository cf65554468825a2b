"""Kept pages at a constant rate of arrivals, whatever the answers take.

An open loop: a request is due at its time by the rate, and its latency counts from
then. So a server that stalls is charged for every request that became due meanwhile
(no "coordinated omission", as Gil Tene calls what closed loops leave out).
"""

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

from . import processes
from .load import Request, page_request, percentile, run
from .report import Row, at_most
from .turns import Pace, warm

RATES = (1000, 5000, 10_000, 20_000)
CONNECTIONS = 1000
GOAL_RATE, GOAL_MILLISECONDS = 5000, 10
_TICK_SECONDS = 0.001
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


def rate(pace: Pace) -> Iterator[Row]:
    """The quiz page, packed, over 1000 connections and two workers: median, 99th and
    99.9th percentile of the time from when a request was due to its last byte. The
    client is one process of Python on the same CPUs: its lateness is in the figures.
    """
    with processes.platform() as source, processes.service(source, 2) as ours:
        request = page_request("quiz", source.newcomers(1)[0], "gzip")
        warm(ours, request)
        for per_second in RATES:
            seconds = 3 * pace.seconds
            times, late = run(_arrivals(ours.url, request, per_second, seconds))
            p50, p99, p999 = (1000 * percentile(times, s) for s in (0.5, 0.99, 0.999))
            goal = at_most(GOAL_MILLISECONDS, p99, " ms p99")
            yield Row(
                f"{per_second}/s",
                f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, p99.9 {p999:.1f} ms",
                f"{len(times) / seconds:.0f}/s answered, {late} unanswered",
                None,
                goal if per_second == GOAL_RATE else None,
            )


async def _arrivals(
    url: str, request: Request, per_second: int, seconds: int
) -> tuple[list[float], int]:
    """The latencies, in seconds, and how many requests had no answer at the end."""
    loop = asyncio.get_running_loop()
    host, _, port = urlsplit(url).netloc.partition(":")
    head = [f"GET {request.path} HTTP/1.1", f"Host: {host}"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    client = _Client("\r\n".join([*head, "", ""]).encode())
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Connection(client), host, int(port))
    began = loop.time()
    due = 0
    while (now := loop.time() - began) < seconds:
        while due < now * per_second:
            client.ask(began + due / per_second)
            due += 1
        await asyncio.sleep(_TICK_SECONDS)
    await asyncio.sleep(1)  # for the last ones
    client.close()
    return client.times, due - len(client.times)


class _Client:
    """Gives due requests to idle connections; the others wait for one."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.times: list[float] = []
        self.connections: list[_Connection] = []
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()

    def ask(self, due: float) -> None:
        if self._idle:
            self._idle.popleft().send(due)
        else:
            self._waiting.append(due)

    def idle(self, connection: "_Connection") -> None:
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def close(self) -> None:
        for connection in self.connections:
            connection.transport.abort()


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._received = b""
        self._due = 0.0
        self._clock = asyncio.get_running_loop().time
        client.connections.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._client.idle(self)

    def send(self, due: float) -> None:
        self._due = due
        self.transport.write(self._client.request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        length = _LENGTH.search(self._received, 0, end + 2) if end >= 0 else None
        if length is None or len(self._received) < end + 4 + int(length[1]):
            return
        self._client.times.append(self._clock() - self._due)
        self._received = b""
        self._client.idle(self)
