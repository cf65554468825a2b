"""A listener before an application that takes its time, and clients of it."""

import asyncio
import socket
from typing import cast

from tornado.http1connection import HTTP1ConnectionParameters
from tornado.web import Application, RequestHandler

from aims_server.http_server.address_limit import AddressLimit
from aims_server.http_server.connection_counts import ConnectionCount, ConnectionCounts
from aims_server.http_server.listener import Listener
from aims_server.web import (
    AnswerParts,
    SimpleRequest,
    closing_message,
    request_id,
)

from ..virtual_time import Clock
from ..waiting import PATIENCE_SECONDS

BIG = b"x" * 20_000_000


class Page(RequestHandler):
    """Answers at once, with much, or when told to."""

    def initialize(self, asked: list[str], gate: asyncio.Event) -> None:
        """Take where to note what is asked, and the event that ``/slow`` waits for."""
        self.asked = asked
        self.gate = gate

    async def get(self) -> None:
        """Answer."""
        self.asked.append(self.request.path)
        if self.request.path == "/slow":
            await self.gate.wait()
        self.write(BIG if self.request.path == "/big" else b"answered")


class Kept:
    """A fast path that has ``/kept`` at hand and declines all else."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def answer(
        self, request: SimpleRequest, peer: str, *, params: HTTP1ConnectionParameters
    ) -> AnswerParts | None:
        """Much, at once."""
        _, path, headers, _ = request
        if path != "/kept":
            return None
        self._asked.append(path)
        last = headers.get("connection") == "close"
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG)
        return (head, BIG), last


class Server:
    """A listener and its socket."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.clock = Clock()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()
        self.listeners: list[Listener] = []
        self.listener = self.another_listener()

    def another_listener(
        self,
        listening: socket.socket | None = None,
        count: ConnectionCount | None = None,
        *,
        max_connections: int = 1000,
        fast_path: Kept | None = None,
    ) -> Listener:
        """One more on the same socket, as another worker has."""
        listener = Listener(
            Application(
                [(".*", Page, {"asked": self.asked, "gate": self.gate})],
                log_function=bool,
            ),
            max_connections=max_connections,
            on_refused=bool,
            reject=lambda failure, *_: closing_message(failure, request_id(None)),
            fast_path=fast_path,
            connection_count=count or ConnectionCounts().of(0),
            address_limit=AddressLimit(1000, exempt=lambda peer: True),
            clock=self.clock,
        )
        listener.add_sockets([(listening or self.socket).dup()])
        self.listeners.append(listener)
        return listener

    async def close(self) -> None:
        """End every listener and its connections, however the test ended."""
        for listener in self.listeners:
            listener.stop()
            await listener.close_all_connections()
        self.socket.close()


class Client:
    """A connection that is kept as long as the server likes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.transport = cast(asyncio.Transport, writer.transport)

    @classmethod
    async def connect(cls, server: Server) -> "Client":
        """A fresh connection, accepted or not."""
        return cls(*await asyncio.open_connection(*server.address, limit=2**26))

    async def ask(
        self, path: str = "/", version: str = "1.1", *, last: bool = False
    ) -> str:
        """The head of the answer; the body must be whole."""
        self.send(path, version, last=last)
        return await self.answer()

    def send(
        self, path: str = "/", version: str = "1.1", *, last: bool = False
    ) -> None:
        """A request, whose answer is awaited later."""
        keep = "Connection: keep-alive\r\n" if version == "1.0" else ""
        close = "Connection: close\r\n" if last else ""
        self.writer.write(
            f"GET {path} HTTP/{version}\r\nHost: x\r\n{keep}{close}\r\n".encode()
        )

    async def answer(self) -> str:
        """The head of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.partition("Content-Length: ")[2].split("\r")[0])
        await self.reader.readexactly(length)
        return head

    async def ended(self) -> bool:
        """Whether the server closes the connection, and without a reset."""
        rest = await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)
        self.writer.close()
        return rest == b""
