"""Far sides behind TLS: one that speaks HTTP/1.1 and one that speaks HTTP/2."""

import asyncio
import contextlib
import ssl
from pathlib import Path

from ...waiting import PATIENCE_SECONDS

CERTIFICATE = Path(__file__).parent / "tls" / "self_signed.pem"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING = 0, 1, 3, 4, 6
_ACK = END_STREAM = 1
_END_HEADERS = 4
_STATUS_200 = b"\x88"  # the eighth entry of HPACK's static table
_INTERNAL_ERROR = (2).to_bytes(4)


class SecureServer:
    """Counts connections when they say hello, requests when they are heard. To so many
    of its first connections it says nothing more while they are ``silent``.
    """

    protocol = "http/1.1"
    silent = 0

    def __init__(self) -> None:
        self.connections = 0
        self.heard = 0
        self.targets: list[bytes] = []  # of the requests that were heard
        self._writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATE)
        self._context.set_alpn_protocols([self.protocol])
        self._context.sni_callback = self._on_hello

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._context
        )
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def stop(self) -> None:
        """Close the port and every connection."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        for _ in range(10):  # handshakes that were never ended end now
            await asyncio.sleep(0)

    async def until(self, reached) -> None:
        """Wait until the counts are so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reached():
                self._news.clear()
                await self._news.wait()

    def _on_hello(self, *_: object) -> None:
        self.connections += 1
        self._news.set()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError, EOFError):
            await self._serve(reader, writer)
        writer.close()

    def _hear(self) -> None:
        self.heard += 1
        self._news.set()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        number = len(self._writers)
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            self.targets.append(request.split()[1])
            self._hear()
            if number > self.silent:
                writer.write(OK)


class Http2Server(SecureServer):
    """Answers each stream with an empty object, but of those that it hears, counted
    from 1, it hangs on one, resets one, and closes the connection on one.
    """

    protocol = "h2"
    hangs_on = 0
    resets_on = 0
    closes_on = 0

    def ping(self) -> None:
        """Say something that is no answer, on every connection."""
        for writer in self._writers:
            writer.write(_frame(_PING, 0, 0, b"12345678"))

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        number = len(self._writers)
        assert await reader.readexactly(len(_PREFACE)) == _PREFACE
        writer.write(_frame(_SETTINGS, 0, 0))
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3]))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
            if kind == _SETTINGS and not flags & _ACK:
                writer.write(_frame(_SETTINGS, _ACK, 0))
            elif kind == _HEADERS:
                self._hear()
                if self.heard == self.hangs_on or number <= self.silent:
                    continue
                if self.heard == self.resets_on:
                    writer.write(_frame(_RST_STREAM, 0, stream, _INTERNAL_ERROR))
                    continue
                if self.heard == self.closes_on:
                    return
                writer.write(_frame(_HEADERS, _END_HEADERS, stream, _STATUS_200))
                writer.write(_frame(_DATA, END_STREAM, stream, b"{}"))


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)
    return head + payload
