"""What one connection or address does leaves everybody else's connections alone."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from aims_server.app import Worker
from aims_server.http_server.address_limit import AddressLimit
from aims_server.http_server.listener import Listener

from ..conftest import Clock
from ..waiting import PATIENCE_SECONDS, eventually

pytestmark = [
    pytest.mark.both_loops,
    pytest.mark.settings(RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1000000"),
]

HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /api/login HTTP/1.1\r\nHost: x\r\n"
LARGE = b"GET /docs/swagger-ui.js HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(name="places")
def _places() -> int:
    """Connections of one address, where this machine's are counted."""
    return 1000


@pytest.fixture(name="listener_options")
def _listener_options(worker: Worker, clock: Clock, places: int) -> dict[str, Any]:
    """The clock stands still between the steps of a test."""
    clock.stop()
    return {
        "on_refused": lambda _: worker.metrics.limited("connections"),
        "address_limit": AddressLimit(places, exempt=lambda peer: False),
        "clock": clock.monotonic,
    }


class Client:
    """A connection that reads nothing unless it is told to."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """All of it."""
        await self._loop.sock_sendall(self.socket, data)

    async def read(self, most: int = 65536) -> bytes:
        """What comes next; nothing once the server has closed the connection. First the
        server has its turn: asyncio's loop would give none while there is more to read,
        which is megabytes.
        """
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self._loop.sock_recv(self.socket, most)
            except ConnectionResetError:
                return b""

    async def read_to_end(self) -> bytes:
        """Everything until the server closes."""
        received = bytearray()
        while piece := await self.read():
            received += piece
        return bytes(received)

    async def is_served(self) -> bool:
        """Whether one more request is answered with 200."""
        await self.send(HEALTH)
        return (await self.read()).startswith(b"HTTP/1.1 200 OK\r\n")


class Connect:
    """Makes clients, and closes them after the test."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._made: list[Client] = []

    async def __call__(self, *, buffer: int = 0, source: str = "127.0.0.1") -> Client:
        """One with a receive buffer of so many bytes, from a loopback address."""
        client = Client()
        self._made.append(client)
        client.socket.bind((source, 0))
        if buffer:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await asyncio.get_running_loop().sock_connect(
            client.socket, ("127.0.0.1", self._port)
        )
        return client

    def close(self) -> None:
        """Close what is left of them."""
        for client in self._made:
            client.socket.close()


@pytest.fixture(name="connect")
def _connect(http_server: Listener, http_port: int) -> Iterator[Connect]:
    connect = Connect(http_port)
    yield connect
    connect.close()


class Sweep:
    """Lets time pass for the listener."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self.listener = listener
        self.clock = clock

    async def __call__(self, seconds: float) -> None:
        """So many seconds, looked at before and after."""
        await settle()
        self.listener.close_timed_out()
        self.clock.advance(seconds)
        self.listener.close_timed_out()
        await settle()


@pytest.fixture(name="sweep")
def _sweep(http_server: Listener, clock: Clock) -> Sweep:
    clock.stop()
    return Sweep(http_server, clock)


async def settle() -> None:
    """Let the loop and the kernel hand over what is on its way."""
    for _ in range(20):
        await asyncio.sleep(0.002)


def owed(listener: Listener) -> list[int]:
    """What the transport of each connection holds for its client, in bytes."""
    return [each._transport.get_write_buffer_size() for each in listener._open]


@pytest.mark.gen_test
async def test_a_client_that_reads_nothing_is_cut(connect, http_server, sweep):
    """Eight large answers asked for, none read: closed after 10 s without progress."""
    mute = await connect(buffer=2048)
    await mute.send(LARGE * 8)
    bystander = await connect()
    assert await bystander.is_served()
    await eventually(lambda: max(owed(http_server)))  # the kernel's buffers are full
    await asyncio.sleep(0.1)
    assert 0 < max(owed(http_server)) <= 192 * 1024
    await sweep(9.0)
    assert http_server.connections == 2
    assert await bystander.is_served()
    await sweep(1.1)
    assert http_server.connections == 1
    assert await bystander.is_served()


@pytest.mark.gen_test
async def test_a_client_that_reads_slowly_is_not_cut(connect, http_server, sweep):
    """A little of the answer now and then is progress, however long it takes."""
    slow = await connect(buffer=65536)
    last = LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    await slow.send(LARGE * 7 + last)
    received = len(await slow.read(1000))
    for _ in range(3):
        await eventually(lambda: max(owed(http_server), default=0))
        await settle()
        before = owed(http_server)
        while owed(http_server) == before:
            received += len(await slow.read())
        await sweep(9.0)
    received += len(await slow.read_to_end())
    assert received > 8 * 1_000_000


@pytest.mark.gen_test
async def test_a_large_answer_arrives_whole(connect):
    """A client that has shut its side gets all the pieces."""
    client = await connect()
    await client.send(LARGE * 2)
    client.socket.shutdown(socket.SHUT_WR)
    head, _, rest = (await client.read_to_end()).partition(b"\r\n\r\n")
    length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    second_head, _, second = rest[length:].partition(b"\r\n\r\n")
    assert second_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert second == rest[:length]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"G",
        b"GET /health HTTP/1.1\r\nHost: x\r\n",
        POST + b"Content-Length: 9\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5",
        HEALTH + b"G",
    ],
)
async def test_a_client_that_stops_sending_is_cut(connect, http_server, sweep, begun):
    """In the head, in the body, before any byte: closed 10 s later."""
    stopped = await connect()
    await stopped.send(begun)
    await sweep(9.0)
    bystander = await connect()
    assert await bystander.is_served()
    assert http_server.connections == 2
    await sweep(1.1)
    assert b"400" not in await stopped.read_to_end()
    await sweep(1.1)  # a lingering close
    assert http_server.connections == 1
    assert await bystander.is_served()


@pytest.mark.gen_test
async def test_a_trickled_head_extends_nothing(connect, http_server, sweep):
    """A byte a second is no reason to wait longer for the rest."""
    trickling = await connect()
    for _ in range(9):
        await trickling.send(b"G")
        await sweep(1.0)
    assert http_server.connections == 1
    await trickling.send(b"G")
    await sweep(1.1)
    assert await trickling.read_to_end() == b""
    await sweep(1.1)
    assert http_server.connections == 0


@pytest.mark.gen_test
async def test_a_kept_connection_has_ten_seconds_for_its_next_request(
    connect, http_server, sweep
):
    """They begin anew with each answer, and end with the next request's first byte."""
    kept = await connect()
    for _ in range(3):
        await sweep(9.0)
        assert await kept.is_served()
    await sweep(9.0)
    await kept.send(HEALTH[:5])
    await sweep(9.0)
    await kept.send(HEALTH[5:])
    assert (await kept.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    await sweep(10.1)
    assert http_server.connections == 0


class TestPerAddress:
    """Many connections from one address."""

    @pytest.fixture(name="places")
    def _places(self) -> int:
        return 5

    @pytest.mark.gen_test
    async def test_an_address_has_its_places_and_no_more(
        self, connect, http_server, worker
    ):
        """The sixth is told 503; another address is served; a closed one makes room."""
        own = [await connect(source="127.0.0.2") for _ in range(5)]
        for client in own:
            assert await client.is_served()
        refused = await connect(source="127.0.0.2")
        assert (await refused.read_to_end()).startswith(b"HTTP/1.1 503 ")
        other = await connect(source="127.0.0.3")
        assert await other.is_served()
        own.pop().socket.close()
        await settle()
        late = await connect(source="127.0.0.2")
        assert await late.is_served()
        exposition = worker.metrics.exposition().decode()
        assert 'aims_limited_requests_total{kind="connections"} 1.0' in exposition
