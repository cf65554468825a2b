"""A client that sees its answers' bytes, one kept connection each."""

import asyncio
import re
from typing import NamedTuple

from .raw import Connection

# A header that the fast path leaves to Tornado, which ignores it.
SLOW_PATH = {"Trailer": "none"}
# What differs from one answer to the next, whoever gives it.
OF_THE_MOMENT = {"x-request-id", "date", "server-timing", "ratelimit"}


def without_time(body):
    """A JSON body but for what the clock says."""
    return re.sub(rb'"(timestamp":"[^"]+|uptimeSeconds":\d+)', b"", body)


class Answer(NamedTuple):
    """What a client is told."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def lasting(self):
        """Status, body and the headers that two like answers have in common."""
        headers = {k: v for k, v in self.headers.items() if k not in OF_THE_MOMENT}
        return self.status, headers, self.body


class Browser:
    """One kept connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port):
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))

    async def ask(self, path, token, headers=None):
        """One GET and its answer."""
        self.send(path, token, headers)
        return await self.read()

    def send(self, path, token, headers=None):
        """One GET in one piece."""
        self._write("GET", path, {"Authorization": f"Bearer {token}"}, headers, b"")

    async def post(self, body, headers=None, path="/api/attendance"):
        """The summary asked for in the old way, or a login; and its answer."""
        self.send_post(body, headers, path)
        return await self.read()

    def send_post(self, body, headers=None, path="/api/attendance"):
        """One POST in one piece."""
        body = body if isinstance(body, bytes) else body.encode()
        framing = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        self._write("POST", path, framing, headers, body)

    def _write(self, method, path, own, headers, body):
        sent = {"Host": "x", **own, **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    async def read(self):
        """The next answer."""
        return Answer(*await Connection(self.reader, self.writer).answer())
