"""A server for the pool of curl handles, and calls of it."""

import asyncio
import contextlib
import os
import socket
import struct

from msgspec.structs import replace

from aims_server.errors import FailureCause
from aims_server.upstream.transport.curl_pool import CurlPool, Reply, Request

from ...waiting import PATIENCE_SECONDS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


class ScriptedServer:
    """A server that keeps its connections, remembers each request, and answers those
    whose path it knows; of any other it only hears, until told to answer. What it says
    to a path may be a list: the answers to the requests of one connection in turn.
    """

    def __init__(self):
        self.says: dict[bytes, bytes | list[bytes]] = {b"/": OK}
        self.heard: list[bytes] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Condition()

    async def start(self):
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        """Close the port and every connection."""
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    async def has_heard(self, number):
        """Wait for so many requests."""
        async with self._news, asyncio.timeout(PATIENCE_SECONDS):
            await self._news.wait_for(lambda: len(self.heard) >= number)

    def send_all(self, text: bytes):
        """Say something on every connection; it has arrived when this returns."""
        for writer in self._writers:
            if not writer.is_closing():
                # Past uvloop, which would write at the end of this turn.
                os.write(writer.get_extra_info("socket").fileno(), text)

    def hang_up(self):
        """Close every connection."""
        while self._writers:
            self._writers.pop().close()

    def reset(self):
        """Break every connection off, without an end."""
        linger = struct.pack("ii", 1, 0)
        for writer in self._writers:
            accepted = writer.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.hang_up()

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        self.connections += 1
        number = 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(6 if head.startswith(b"POST") else 0)
                async with self._news:
                    self.heard.append(head + body)
                    self._news.notify_all()
                says = self.says.get(head.split(b" ")[1])
                if isinstance(says, list):
                    says = says[number]
                if says is not None:
                    writer.write(says)
                number += 1
        writer.close()


async def make_pool(handles: int) -> CurlPool:
    """A pool on the running loop."""
    return CurlPool(force_instance=True, max_clients=handles, max_body_size=1000)


def request(
    server,
    path="/",
    *,
    seconds=PATIENCE_SECONDS,
    host="127.0.0.1",
    body=None,
    **headers,
):
    """A call of the server."""
    url = f"http://{host}:{server.port}{path}"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(url, headers, body, seconds, seconds)


def timed_out(outcome) -> bool:
    """Whether the time was over before the answer was there."""
    return isinstance(outcome, FailureCause) and outcome.kind.startswith("timeout_")


def said(outcome: Reply | FailureCause) -> Reply:
    """A reply, whatever connection it came on."""
    assert isinstance(outcome, Reply), outcome
    return replace(outcome, connection=None)
