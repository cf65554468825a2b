"""A client of raw bytes, which sends what it likes and reads answer after answer."""

import asyncio

from ..waiting import PATIENCE_SECONDS

HEALTH = b"/health/live HTTP/1.1\r\nHost: x\r\n"


class Connection:
    """A raw connection whose answers are read one by one."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port):
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))

    def send(self, data):
        """Bytes as they are."""
        self._writer.write(data)

    async def head(self):
        """Status and headers of the next answer, or of a 100."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:-2])
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def answer(self):
        """Status, headers and body of the next answer to anything but HEAD."""
        status, headers = await self.head()
        length = int(headers.get("content-length", 0))
        return status, headers, await self.read(length)

    async def read(self, length):
        """So many bytes of a body."""
        return await self._reader.readexactly(length)

    async def ask(self, data):
        """Send and read the answer."""
        self.send(data)
        return await self.answer()

    async def ended(self):
        """Whether the server closes, with nothing more to read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.read() == b""

    def close(self):
        """Close."""
        self._writer.close()


def request(path, token, *lines, method="GET"):
    """A student's request with these further header lines."""
    head = (f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
    return "".join(f"{line}\r\n" for line in (*head, *lines, "")).encode()
