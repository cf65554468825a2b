"""The fast path against Tornado: whatever bytes arrive, both give the same answers.

`make fuzz` does the same for as long as it is told to, from another seed each time.
"""

import asyncio
import json
import os
import random
import re
import sys
import time
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

from aims_server.app import Machine, Worker, build
from aims_server.config.settings import Settings
from aims_server.http_server.address_limit import AddressLimit
from aims_server.http_server.connection_counts import ConnectionCounts
from aims_server.http_server.listener import Listener
from aims_server.logs.access_log import AccessLog
from aims_server.metrics.recorder import Metrics

from ..waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.settings(
    RATE_LIMIT_PER_MINUTE="1000000",
    RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1000000",
    TRUSTED_PROXIES="127.0.0.1",
)

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
REQUESTS = 5000  # where no time is given
SEED = int(os.environ.get("FUZZ_SEED", "2025"))
AT_ONCE = 16

HEADERS = [
    b"Accept-Encoding: gzip", b"Accept-Encoding: gzip;q=0, *", b"If-None-Match: *",
    b"Cache-Control: no-cache", b"Cache-Control: max-age=0", b"Connection: close",
    b"Connection: keep-alive", b"Connection: Keep-Alive, TE", b"Connection: close, TE",
    b"Connection: TE, close", b"Connection: upgrade", b"Connection:", b"Keep-Alive: 5",
    b"Content-Length: 0", b"Content-Length: 1", b"Content-Length: +1",
    b"Content-Length: 00", b"Content-Encoding: gzip", b"Content-Encoding: identity",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"TE: trailers",
    b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: x", b"Host: y",
    b"Host: x, y", b"Host:", b"Host : x", b"Upgrade: h2c", b"Trailer: A", b"A", b": b",
    b"A: b\r\n c", b"A: b\rc", b"A: b\nB: c", b"A: \x00", b"A: \xe9", b"A: \x7f",
    b"Origin: http://localhost:3000", b"Origin: null", b"X-Request-Id: a b",
    b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-For: 203.0.113.7:1, [::1]:2",
    b"Authorization: Bearer x", b"authorization: basic eA==", b"Content-Type: text/csv",
    b"Accept: text/calendar", b"Range: bytes=0-1", b"If-Modified-Since: x",
    b"X: " + b"x" * 8200,
]  # fmt: skip
LINES = [
    b"HEAD", b"OPTIONS", b"PUT", b"get", b"G\tET", b"HTTP/1.0", b"HTTP/1.2",
    b"HTTP/2.0", b"http/1.1", b"/api/quiz?", b"/api/quiz?a=b", b"/api/quiz/",
    b"/api//quiz", b"*", b"/api/%71uiz", b"http://x/api/quiz", b"HTTP://x:80/api/quiz",
    b"x:443", b"https://y/api/quiz?a", b"http://x:y/api/quiz", b"http://x,y/api/quiz",
    b"/api/quiz#a", b"/health", b"/docs", b"/",
]  # fmt: skip
BYTES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b"\xff", b"0",
    b"{", b'"', b"\r\n ", b"GET ", b"",
]  # fmt: skip

NO_LOGIN = b'{"a":"","username":[]}'

# What differs from one answer to the next, whoever gives it.
VARYING = {b"x-request-id", b"date", b"server-timing", b"ratelimit", b"retry-after"}


@pytest.fixture(name="worker")
def _worker(io_loop: IOLoop, settings: Settings) -> Iterator[Worker]:
    """A worker for which no time passes, so that no kept answer grows older."""
    now, wall = time.monotonic(), time.time()

    async def make() -> Worker:
        return build(
            settings,
            Machine(settings, clock=lambda: now),
            metrics=Metrics(),
            access_log=AccessLog(),
            clock=lambda: now,
            wall=lambda: wall,
        )

    worker = io_loop.run_sync(make)
    yield worker
    io_loop.run_sync(worker.close)


@pytest.fixture(name="ports")
def _ports(io_loop: IOLoop, worker: Worker) -> Iterator[tuple[int, int]]:
    """Those of two listeners before one worker: with the fast path, and without."""
    ports, listeners = [], []
    for fast_path in (worker.fast_path, None):
        listening, port = bind_unused_port()
        listener = Listener(
            worker.delegate,
            fast_path=fast_path,
            max_connections=2000,
            on_refused=bool,
            reject=worker.reject,
            connection_count=ConnectionCounts().of(0),
            address_limit=AddressLimit(2000, exempt=lambda peer: True),
        )
        listener.add_sockets([listening])
        listeners.append(listener)
        ports.append(port)
    yield ports[0], ports[1]
    for listener in listeners:
        listener.stop()
        io_loop.run_sync(listener.close_all_connections)


async def exchange(port: int, pieces: list[bytes]) -> bytes:
    """All that comes back for these pieces, the client's side shut behind them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


def lasting(answers: bytes) -> list[bytes]:
    """The lines of all answers in order, without what varies, and every body."""
    lines = []
    for line in answers.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if name.lower() not in VARYING:
            line = name.lower() + colon + value
            line = re.sub(rb'"uptimeSeconds":\d+', b"", line)
            lines.append(
                re.sub(rb'("(?:timestamp|requestId)":")[^"]*', rb"\1", line, flags=re.I)
            )
    # The order of headers has no meaning; that of answers and their bodies stays.
    blocks, block = [], []
    for line in lines:
        if line:
            block.append(line)
        else:
            blocks.append(b"\n".join([*block[:1], *sorted(block[1:])]))
            block = []
    return [*blocks, b"\n".join(block)]


class Mutations:
    """Requests that are nearly sound, by a seeded generator."""

    def __init__(self, seed: int, token: str) -> None:
        self._draw = random.Random(seed)
        bearer = b"Authorization: Bearer " + token.encode()
        body = json.dumps({"token": token}).encode()
        length = b"Content-Length: %d" % len(body)
        json_type = b"Content-Type: application/json"
        self._sound = [
            (b"GET", b"/api/quiz", [bearer], b""),
            (b"GET", b"/api/all-attendance", [bearer, b"Accept-Encoding: gzip"], b""),
            (b"GET", b"/api/attendance", [bearer, b"If-None-Match: *"], b""),
            (b"HEAD", b"/api/quiz", [bearer], b""),
            (b"GET", b"/api/quiz", [b"Authorization: Bearer a b"], b""),
            (b"GET", b"/health", [], b""),
            (b"POST", b"/api/attendance", [length, json_type], body),
            # No edit makes a login of it that the platform would be asked for: by the
            # end of what is sent, which ends a login, it would be answered or not.
            (b"POST", b"/api/login", [b"Content-Length: 22", json_type], NO_LOGIN),
        ]

    def next(self) -> list[bytes]:
        """The pieces of one to three requests on a connection."""
        whole = b"".join(
            self._request() for _ in range(self._draw.choice([1, 1, 1, 1, 1, 1, 2, 3]))
        )
        for _ in range(self._draw.choice([0, 0, 0, 0, 1, 2])):
            whole = self._edit(whole)
        at = self._draw.randrange(len(whole) + 1)
        return [whole] if self._draw.random() < 0.8 else [whole[:at], whole[at:]]

    def _request(self) -> bytes:
        draw = self._draw
        method, path, headers, body = draw.choice(self._sound)
        first = [method, path, b"HTTP/1.1"]
        if draw.random() < 0.1:
            first[draw.randrange(3)] = draw.choice(LINES)
        lines = [b"Host: x", *headers]
        for _ in range(draw.choice([0, 1, 1, 2])):
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(HEADERS))
        if draw.random() < 0.05:
            lines.pop(draw.randrange(len(lines)))
        return b"\r\n".join([b" ".join(first), *lines, b"", body])

    def _edit(self, whole: bytes) -> bytes:
        draw = self._draw
        at = draw.randrange(len(whole))
        return whole[:at] + draw.choice(BYTES) + whole[at + draw.choice([0, 0, 1, 2]) :]


@pytest.mark.gen_test(timeout=SECONDS + 600)
async def test_both_paths_answer_alike(ports, token, worker):
    """Status, headers with their order, body and end of connection are the same."""
    fast, plain = ports
    for path in ("quiz", "attendance", "all-attendance"):
        head = f"GET /api/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}"
        assert b" 200 OK" in await exchange(plain, [head.encode() + b"\r\n\r\n"])
    taken = 0
    answer = worker.fast_path.answer

    def counted(request, peer, *, params):
        nonlocal taken
        found = answer(request, peer, params=params)
        taken += found is not None
        return found

    worker.fast_path.answer = counted
    mutations = Mutations(SEED, token)
    end, number = time.monotonic() + SECONDS, 0

    async def compare() -> None:
        nonlocal number
        while number < REQUESTS or time.monotonic() < end:
            number += 1
            pieces = mutations.next()
            short = lasting(await exchange(fast, pieces))
            long = lasting(await exchange(plain, pieces))
            assert short == long, (SEED, pieces)

    await asyncio.gather(*(compare() for _ in range(AT_ONCE)))
    sys.stdout.write(f"{number} exchanges from seed {SEED}, {taken} fast answers\n")
    assert taken > number / 10
