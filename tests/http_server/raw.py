"""A client of raw bytes, which sends all it has and then reads."""

import asyncio

from ..waiting import PATIENCE_SECONDS


async def exchange(port: int, sent: bytes) -> bytes:
    """All that comes back until the server closes, after our end is shut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status_of(answer: bytes) -> int | None:
    """The status of an answer, None for a connection closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer else None
