"""How a test waits for what must come, and where its processes may listen."""

import asyncio
import itertools
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: What only guards against waiting for ever: a busy machine may take long over all.
PATIENCE_SECONDS = 60.0
#: For what is to come so far before its time is over: a busy machine may be too slow
#: for the first of these seconds, and is given more.
EVER_LONGER = (0.3, 3.0, 30.0)


def until(reached: Callable[[], object]) -> None:
    """Wait for what must come."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


async def eventually(reached: Callable[[], object]) -> None:
    """Wait for what must come, while the loop of this process goes on."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.002)


def _ports() -> Iterator[int]:
    """Ports below those that the system gives to who asks for any, and in each process
    of pytest-xdist others, so that nobody takes one before its program listens there.
    """
    given, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = max(2000, int(given) - 12_000) + worker % 12 * 1000
    return itertools.cycle(random.sample(range(first, first + 1000), 1000))


_PORTS = _ports()


def free_port() -> int:
    """A port of loopback for a program that will listen there; nobody else does."""
    for port in _PORTS:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("unreachable: the ports are a cycle")


def skip_without_ipv6() -> None:
    """Leave out a test that needs ::1, as many containers have none."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no ::1: {error.strerror}")
