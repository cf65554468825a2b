"""How a test waits for what must come, and where its processes may listen."""

import asyncio
import socket
import time
from collections.abc import Callable

_PATIENCE_SECONDS = 20.0  # of a busy machine; no test takes nearly as long


def until(reached: Callable[[], object]) -> None:
    """Wait for what must come."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


async def eventually(reached: Callable[[], object]) -> None:
    """Wait for what must come, while the loop of this process goes on."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.002)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
