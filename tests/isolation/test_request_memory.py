"""What a request leaves behind in a worker: nothing that is kept, and nothing for the
garbage collector.
"""

import asyncio
import gc
import logging
import socket
from collections import Counter
from contextlib import suppress

import pytest

pytestmark = pytest.mark.settings(RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1000000")

POST = b"POST /api/login HTTP/1.1\r\nHost: x\r\n"
# Made distinct by a number.
FORGETTABLE = {
    "malformed head": b"GET /%d HTTP/1.1\r\nHost : x\r\n\r\n",
    "endless head": b"GET /%d HTTP/1.1\r\nA: " + b"b" * 40_000,
    "distinct path": b"GET /left-%d HTTP/1.1\r\nHost: x\r\n\r\n",
    "distinct header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A%d: 1\r\n\r\n",
    "bad body": POST + b"Content-Length: 9\r\n\r\n{%08d",
    "bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n0x%d",
    "half a head": b"GET /%d HTTP/1.1\r\nHost: x\r\n",
}


@pytest.fixture(name="quiet")
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told is not told here, since pytest would keep it."""
    monkeypatch.setattr(logging.getLogger("tornado.general"), "level", logging.WARNING)


async def ask(port: int, request: bytes) -> None:
    """On a connection of its own, which the client ends."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, request)
        client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while await loop.sock_recv(client, 65536):
                pass


# On asyncio's own loop each transport is a cycle of objects by itself.
@pytest.mark.parametrize("loop_kind", ["uvloop"], indirect=True)
@pytest.mark.parametrize("case", FORGETTABLE)
@pytest.mark.usefixtures("http_server", "quiet")
@pytest.mark.gen_test
async def test_a_request_leaves_no_memory(http_port, case):
    """Of two, not one object is left."""

    async def ask_all(numbers: range) -> Counter[str]:
        for number in numbers:
            await ask(http_port, FORGETTABLE[case] % number)
        for _ in range(20):
            await asyncio.sleep(0.002)
        return Counter(type(each).__module__ for each in gc.get_objects())

    # The log remembers the last 256 paths.
    earlier = 270 if case == "distinct path" else 50
    gc.collect()
    gc.disable()  # from here on, for it would no longer track the tuples it has seen
    try:
        before = await ask_all(range(earlier))
        after = await ask_all(range(earlier, earlier + 100))
    finally:
        gc.enable()
    grown = after - before
    assert {module: grown[module] for module in grown if grown[module] >= 50} == {}
