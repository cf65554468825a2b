"""Refuses connections for which there is no place."""

import asyncio
import socket
from typing import Final

from ..errors import Overloaded
from ..web import closing_message, request_id
from .closing import LINGER_SECONDS

__all__ = ["Refusals"]

_MAX_REFUSALS: Final = 32
_DISCARD_BYTES: Final = 64 * 1024


class Refusals:
    """Answers accepted sockets with 503 and closes them, 32 at a time. Further ones are
    closed without an answer, so that they cannot pile up.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()  # a loop holds them weakly

    def refuse(self, connected: socket.socket) -> None:
        """Answer and close."""
        if len(self._tasks) < _MAX_REFUSALS:
            task = asyncio.create_task(_send_overloaded(connected))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            connected.close()


async def _send_overloaded(connected: socket.socket) -> None:
    """Answer before a request is read, and give the client a moment to read that."""
    loop = asyncio.get_running_loop()
    try:
        connected.send(closing_message(Overloaded(), request_id(None)))
        connected.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LINGER_SECONDS):
            # Closing with the request unread would reset what was written.
            while await loop.sock_recv(connected, _DISCARD_BYTES):
                pass
    except OSError:
        pass  # reset by the client, or the time is over
    finally:
        connected.close()
