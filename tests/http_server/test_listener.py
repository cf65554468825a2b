"""The accepting side over real sockets: how it ends, and whom it takes."""

import asyncio
import resource
import socket
from collections.abc import Iterator
from typing import cast

import pytest
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

from aims_server.http_server import connection
from aims_server.http_server.connection_counts import ConnectionCount, ConnectionCounts
from aims_server.http_server.listener import Listener

pytestmark = pytest.mark.both_loops

BIG = b"x" * 20_000_000


class Page(RequestHandler):
    """Answers at once, with much, or when told to."""

    def initialize(self, gate: asyncio.Event) -> None:
        """Take the event that ``/slow`` waits for."""
        self.gate = gate

    async def get(self) -> None:
        """Answer."""
        if self.request.path == "/slow":
            await self.gate.wait()
        self.write(BIG if self.request.path == "/big" else b"answered")


class House:
    """A listener, and what a test needs to know of it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()
        self.listener = self.another_listener()

    def another_listener(
        self,
        listening: socket.socket | None = None,
        load: ConnectionCount | None = None,
    ) -> Listener:
        """One more worker's, so to speak."""
        listener = Listener(
            Application([(".*", Page, {"gate": self.gate})], log_function=bool),
            max_connections=1000,
            on_refused=bool,
            load=load,
        )
        listener.add_sockets([(listening or self.socket).dup()])
        return listener


@pytest.fixture(name="house")
def _house(io_loop: IOLoop) -> Iterator[House]:
    house = House()
    yield house
    house.listener.stop()
    io_loop.run_sync(house.listener.close_all_connections)
    house.socket.close()


class Client:
    """A connection that is kept as long as the server likes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.transport = cast(asyncio.Transport, writer.transport)

    @classmethod
    async def connect(cls, house: House) -> "Client":
        """A fresh connection, accepted or not."""
        return cls(*await asyncio.open_connection(*house.address, limit=2**26))

    async def ask(self, path: str = "/", version: str = "1.1") -> str:
        """The head of the answer; the body must be whole."""
        self.send(path, version)
        return await self.answer()

    def send(self, path: str = "/", version: str = "1.1") -> None:
        """A request, whose answer is awaited later."""
        keep = "Connection: keep-alive\r\n" if version == "1.0" else ""
        self.writer.write(
            f"GET {path} HTTP/{version}\r\nHost: x\r\n{keep}\r\n".encode()
        )

    async def answer(self) -> str:
        """The head of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.partition("Content-Length: ")[2].split("\r")[0])
        await self.reader.readexactly(length)
        return head

    async def ended(self) -> bool:
        """Whether the server closes the connection, and without a reset."""
        rest = await asyncio.wait_for(self.reader.read(), 5)
        self.writer.close()
        return rest == b""


@pytest.mark.gen_test
async def test_the_last_answer_says_so(house):
    """After last_answers a kept connection ends with its next answer."""
    client = await Client.connect(house)
    assert "Connection: close" not in await client.ask()
    house.listener.last_answers()
    assert "Connection: close" in await client.ask()
    assert await client.ended()


@pytest.mark.gen_test
async def test_an_answer_under_way_is_the_last(house):
    """A request that had arrived before is answered with the same word."""
    client = await Client.connect(house)
    client.send("/slow")
    await asyncio.sleep(0.05)
    house.listener.last_answers()
    house.gate.set()
    assert "Connection: close" in await client.answer()
    assert await client.ended()


@pytest.mark.gen_test
async def test_no_connection_ends_without_a_word(house):
    """An answer begun before that is followed by one that says so."""
    client = await Client.connect(house)
    client.transport.pause_reading()
    client.send("/big")
    await asyncio.sleep(0.1)
    house.listener.last_answers()
    client.transport.resume_reading()
    assert "Connection: close" not in await client.answer()
    assert "Connection: close" in await client.ask()
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_client_of_http_1_0_is_promised_nothing(house):
    """The connection it asked to keep is not called kept when it ends."""
    client = await Client.connect(house)
    assert "Connection: Keep-Alive" in await client.ask(version="1.0")
    house.listener.last_answers()
    assert "Keep-Alive" not in await client.ask(version="1.0")
    assert await client.ended()


@pytest.mark.gen_test
async def test_idle_connections_are_closed(house):
    """Emptying ends what has nothing under way."""
    client = await Client.connect(house)
    await client.ask()
    await asyncio.wait_for(house.listener.emptied(), 0.5)
    assert await client.ended()


@pytest.mark.gen_test
async def test_patience_leaves_idle_connections_a_while(house):
    """Until then they may ask once more, and end by their last answer."""
    client = await Client.connect(house)
    await client.ask()
    house.listener.last_answers()
    emptied = asyncio.ensure_future(house.listener.emptied(patience=30))
    await asyncio.sleep(0.1)
    assert "Connection: close" in await client.ask()
    assert await client.ended()
    await asyncio.wait_for(emptied, 1)


@pytest.mark.gen_test
async def test_work_in_flight_is_waited_for(house):
    """Emptying takes as long as the slowest answer."""
    client = await Client.connect(house)
    client.send("/slow")
    await asyncio.sleep(0.05)
    emptied = asyncio.ensure_future(house.listener.emptied())
    await asyncio.sleep(0.2)
    assert not emptied.done()
    house.gate.set()
    await client.answer()
    await emptied
    assert await client.ended()


@pytest.mark.gen_test
async def test_an_answer_is_sent_to_its_end(house):
    """A client that reads slowly gets every byte of what was answered."""
    client = await Client.connect(house)
    client.transport.pause_reading()
    client.send("/big")
    await asyncio.sleep(0.1)
    house.listener.last_answers()
    emptied = asyncio.ensure_future(house.listener.emptied())
    await asyncio.sleep(0.1)
    assert not emptied.done()
    client.transport.resume_reading()
    await client.answer()
    assert await client.ended()
    await emptied


@pytest.mark.gen_test
async def test_a_request_that_is_arriving_is_not_idle(house):
    """Half a header block is the beginning of work."""
    client = await Client.connect(house)
    await client.ask()
    client.writer.write(b"GET / HTTP/1.1\r\nHo")
    await asyncio.sleep(0.05)
    emptied = asyncio.ensure_future(house.listener.emptied())
    await asyncio.sleep(0.1)
    client.writer.write(b"st: x\r\n\r\n")
    await client.answer()
    await emptied
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_new_connection_may_ask(house):
    """Who connected a moment before the end is served."""
    client = await Client.connect(house)
    house.listener.last_answers()
    house.listener.accept_waiting()
    emptied = asyncio.ensure_future(house.listener.emptied())
    await asyncio.sleep(0.2)
    assert "200 OK" in await client.ask()
    await emptied
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_new_connection_that_is_mute_is_not_waited_for(house, monkeypatch):
    """It is idle like any other when its moment has passed."""
    monkeypatch.setattr(connection, "_FIRST_REQUEST_SECONDS", 0.1)
    client = await Client.connect(house)
    await asyncio.sleep(0.05)
    await asyncio.wait_for(house.listener.emptied(), 1)
    assert await client.ended()


@pytest.mark.gen_test
async def test_those_in_the_queue_are_taken_along(house):
    """Whoever the kernel has accepted is served, though the door closes now."""
    held = socket.create_server(("127.0.0.1", 0))
    held.setblocking(False)
    clients = [socket.create_connection(held.getsockname()) for _ in range(20)]
    house.listener.add_sockets([held])
    house.listener.accept_waiting()
    house.listener.stop()
    for client in clients:
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        assert "200 OK" in await Client(reader, writer).ask()
        writer.close()


@pytest.mark.gen_test
async def test_pipelined_requests_cost_no_answer(house):
    """The last answer is whole though requests behind it are left unread."""
    client = await Client.connect(house)
    house.listener.last_answers()
    client.transport.pause_reading()
    client.send("/big")
    for _ in range(20_000):  # more than the server reads ahead
        client.send("/")
    await asyncio.sleep(0.1)
    client.transport.resume_reading()
    assert "Connection: close" in await client.answer()
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_client_that_went_is_no_failure(house, access_lines):
    """Its last answer has nowhere to go, and nothing is said of it."""
    client = await Client.connect(house)
    client.send("/slow")
    await asyncio.sleep(0.05)
    house.listener.last_answers()
    client.transport.abort()
    await asyncio.sleep(0.05)
    house.gate.set()
    await asyncio.wait_for(house.listener.emptied(), 1)
    await asyncio.sleep(0.05)
    assert access_lines.getvalue() == ""


@pytest.mark.gen_test
async def test_workers_share_a_burst(house):
    """Of connections that come at once, no listener takes nearly all."""
    other = house.another_listener()
    clients = [socket.create_connection(house.address) for _ in range(100)]
    await asyncio.sleep(0.2)
    shares = [each.connections for each in (house.listener, other)]
    assert sum(shares) == 100
    assert min(shares) > 25
    for client in clients:
        client.close()
    await other.close_all_connections()


@pytest.mark.gen_test
async def test_who_has_more_leaves_the_next_to_the_other(house):
    """With their loads known, two listeners share a burst nearly evenly."""
    loads, lone = (
        ConnectionCounts(),
        socket.create_server(("127.0.0.1", 0), backlog=200),
    )
    lone.setblocking(False)
    both = [house.another_listener(lone, loads.of(slot)) for slot in (0, 1)]
    clients = [socket.create_connection(lone.getsockname()) for _ in range(100)]
    await asyncio.sleep(0.2)
    shares = [each.connections for each in both]
    assert sum(shares) == 100
    assert min(shares) > 40
    for client in clients:
        client.close()
    for each in both:
        each.stop()
        await each.close_all_connections()
    lone.close()


@pytest.mark.gen_test
async def test_nobody_is_left_to_one_who_does_not_come(house):
    """A listener that hangs with few connections gets a moment, then the other acts."""
    loads, lone = (
        ConnectionCounts(),
        socket.create_server(("127.0.0.1", 0), backlog=200),
    )
    lone.setblocking(False)
    loads.of(1).tell(0)
    listener = house.another_listener(lone, loads.of(0))
    clients = [socket.create_connection(lone.getsockname()) for _ in range(100)]
    await asyncio.sleep(0.5)
    assert listener.connections == 100
    for client in clients:
        client.close()
    listener.stop()
    await listener.close_all_connections()
    assert loads.of(1).excess == 0
    lone.close()


@pytest.mark.gen_test
async def test_running_out_of_files_is_survived(house, access_lines, monkeypatch):
    """Connections wait, the loop does not spin, and then they are served."""
    client = socket.create_connection(house.address)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), limits[1]))
    try:
        await asyncio.sleep(0.2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert access_lines.getvalue().count("Too many open files") == 1
    client.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=client)
    assert "200 OK" in await asyncio.wait_for(Client(reader, writer).ask(), 3)
    writer.close()
