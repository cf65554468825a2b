"""What the tests of one call over curl ask, and a server that says any bytes."""

import asyncio
import contextlib

from aims_server.errors import UpstreamError

COURSE_FILES = "/custom/getCFMappedWithStudentID?embed_attendance_summary=1"


CANARY = "canary-0123456789"


BEARER = {"Authorization": f"Bearer {CANARY}"}


class RawServer:
    """A server that says some bytes, whatever it is asked, and hangs up."""

    def __init__(self):
        self.says = b""
        self.heard = b""
        self.hung_up = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self):
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    async def stop(self):
        """Close the port."""
        assert self._server
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            self.heard += await reader.read(65536)
            writer.write(self.says)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.hung_up.set()


def answer(body: bytes, *headers: str, status="200 OK") -> bytes:
    """A sound answer of HTTP/1.1."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


def kind_of(error: UpstreamError) -> str:
    """Its cause in a word."""
    return error.cause.kind if error.cause else ""
