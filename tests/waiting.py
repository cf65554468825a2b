"""What a test of other processes waits for, and where they may listen."""

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


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
