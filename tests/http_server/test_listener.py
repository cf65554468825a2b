"""The listener over real sockets: accepting, sharing connections, draining."""

import asyncio
import resource
import socket
from collections.abc import Iterator
from typing import cast

import pytest
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

from aims_server.http_server.connection_counts import ConnectionCount, ConnectionCounts
from aims_server.http_server.listener import Listener

from ..virtual_time import Clock
from ..waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.both_loops

BIG = b"x" * 20_000_000
SOON = 0.11  # after an answer no further request is expected


class Page(RequestHandler):
    """Answers at once, with much, or when told to."""

    def initialize(self, asked: list[str], gate: asyncio.Event) -> None:
        """Take where to note what is asked, and the event that ``/slow`` waits for."""
        self.asked = asked
        self.gate = gate

    async def get(self) -> None:
        """Answer."""
        self.asked.append(self.request.path)
        if self.request.path == "/slow":
            await self.gate.wait()
        self.write(BIG if self.request.path == "/big" else b"answered")


class Server:
    """A listener and its socket."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.clock = Clock()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()
        self.listeners: list[Listener] = []
        self.listener = self.another_listener()

    def another_listener(
        self,
        listening: socket.socket | None = None,
        count: ConnectionCount | None = None,
        *,
        max_connections: int = 1000,
    ) -> Listener:
        """One more on the same socket, as another worker has."""
        listener = Listener(
            Application(
                [(".*", Page, {"asked": self.asked, "gate": self.gate})],
                log_function=bool,
            ),
            max_connections=max_connections,
            on_refused=bool,
            connection_count=count,
            clock=self.clock,
        )
        listener.add_sockets([(listening or self.socket).dup()])
        self.listeners.append(listener)
        return listener

    async def close(self) -> None:
        """End every listener and its connections, however the test ended."""
        for listener in self.listeners:
            listener.stop()
            await listener.close_all_connections()
        self.socket.close()


@pytest.fixture(name="server")
def _server(io_loop: IOLoop) -> Iterator[Server]:
    server = Server()
    yield server
    io_loop.run_sync(server.close)


class Client:
    """A connection that is kept as long as the server likes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.transport = cast(asyncio.Transport, writer.transport)

    @classmethod
    async def connect(cls, server: Server) -> "Client":
        """A fresh connection, accepted or not."""
        return cls(*await asyncio.open_connection(*server.address, limit=2**26))

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
        rest = await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)
        self.writer.close()
        return rest == b""


@pytest.mark.gen_test
async def test_without_keep_alive_the_next_answer_is_the_last(server):
    """A kept connection ends with its next answer, which says so."""
    client = await Client.connect(server)
    assert "Connection: close" not in await client.ask()
    server.listener.disable_keep_alive()
    assert "Connection: close" in await client.ask()
    assert await client.ended()


@pytest.mark.gen_test
async def test_an_answer_under_way_becomes_the_last(server):
    """A request received before is answered with ``Connection: close`` too."""
    client = await Client.connect(server)
    client.send("/slow")
    await eventually(lambda: server.asked)
    server.listener.disable_keep_alive()
    server.gate.set()
    assert "Connection: close" in await client.answer()
    assert await client.ended()


@pytest.mark.gen_test
async def test_no_connection_ends_unannounced(server):
    """An answer whose head was written before is followed by one that says close."""
    client = await Client.connect(server)
    client.transport.pause_reading()
    client.send("/big")
    await eventually(lambda: server.asked)
    server.listener.disable_keep_alive()
    client.transport.resume_reading()
    assert "Connection: close" not in await client.answer()
    assert "Connection: close" in await client.ask()
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_client_of_http_1_0_is_promised_nothing(server):
    """No ``Keep-Alive`` is sent on a connection that closes."""
    client = await Client.connect(server)
    assert "Connection: Keep-Alive" in await client.ask(version="1.0")
    server.listener.disable_keep_alive()
    assert "Keep-Alive" not in await client.ask(version="1.0")
    assert await client.ended()


@pytest.mark.gen_test
async def test_idle_connections_are_closed(server):
    """Draining closes connections without a request."""
    client = await Client.connect(server)
    await client.ask()
    server.clock.now += SOON
    await asyncio.wait_for(server.listener.drained(), PATIENCE_SECONDS)
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_connection_just_answered_may_ask_once_more(server):
    """Its next request may be on its way: it is answered, and told to be the last."""
    client = await Client.connect(server)
    await client.ask()
    server.listener.disable_keep_alive()
    emptied = asyncio.ensure_future(server.listener.drained())
    await asyncio.sleep(0.1)
    assert not emptied.done()
    assert "Connection: close" in await client.ask()
    assert await client.ended()
    await emptied


@pytest.mark.gen_test
async def test_idle_connections_may_be_given_time(server):
    """Until then they may send one more request, and close with its answer."""
    client = await Client.connect(server)
    await client.ask()
    server.listener.disable_keep_alive()
    emptied = asyncio.ensure_future(server.listener.drained(idle_seconds=30))
    await asyncio.sleep(0.1)
    assert "Connection: close" in await client.ask()
    assert await client.ended()
    await asyncio.wait_for(emptied, PATIENCE_SECONDS)


@pytest.mark.gen_test
async def test_work_in_flight_is_waited_for(server):
    """Draining takes as long as the slowest answer."""
    client = await Client.connect(server)
    client.send("/slow")
    await eventually(lambda: server.asked)
    emptied = asyncio.ensure_future(server.listener.drained())
    await asyncio.sleep(0.2)
    assert not emptied.done()
    server.gate.set()
    await client.answer()
    server.clock.now += SOON
    await emptied
    assert await client.ended()


@pytest.mark.gen_test
async def test_an_answer_is_sent_to_its_end(server):
    """A client that reads slowly receives every byte."""
    client = await Client.connect(server)
    client.transport.pause_reading()
    client.send("/big")
    await eventually(lambda: server.asked)
    server.listener.disable_keep_alive()
    emptied = asyncio.ensure_future(server.listener.drained())
    await asyncio.sleep(0.1)
    assert not emptied.done()
    client.transport.resume_reading()
    await client.answer()
    server.clock.now += SOON
    assert await client.ended()
    await emptied


@pytest.mark.gen_test
async def test_a_request_that_is_arriving_is_not_idle(server):
    """Half a header block counts as a request."""
    client = await Client.connect(server)
    await client.ask()
    client.writer.write(b"GET / HTTP/1.1\r\nHo")
    await asyncio.sleep(0.05)
    emptied = asyncio.ensure_future(server.listener.drained())
    await asyncio.sleep(0.1)
    client.writer.write(b"st: x\r\n\r\n")
    await client.answer()
    server.clock.now += SOON
    await emptied
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_new_connection_may_ask(server):
    """A client that connected a moment before the drain is served."""
    client = await Client.connect(server)
    server.listener.disable_keep_alive()
    server.listener.accept_backlog()
    emptied = asyncio.ensure_future(server.listener.drained())
    await asyncio.sleep(0.2)
    assert "200 OK" in await client.ask()
    assert await client.ended()
    await emptied


@pytest.mark.gen_test
async def test_a_new_connection_without_a_request_is_closed(server):
    """It counts as idle after its first second."""
    client = await Client.connect(server)
    server.listener.accept_backlog()
    server.clock.now += 1.1
    await asyncio.wait_for(server.listener.drained(), PATIENCE_SECONDS)
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_connection_without_a_transport_is_not_idle(server):
    """Though it was accepted long ago: the whole process may have stood still since."""
    client = socket.create_connection(server.address)
    server.listener.accept_backlog()
    server.clock.now += 1.1
    async with asyncio.timeout(PATIENCE_SECONDS):
        await server.listener.drained()  # looks before the loop has had a turn
    assert client.recv(1) == b""
    client.close()


@pytest.mark.gen_test
async def test_the_backlog_is_accepted(server):
    """Connections that the kernel has queued are served before the socket closes."""
    held = socket.create_server(("127.0.0.1", 0))
    held.setblocking(False)
    clients = [socket.create_connection(held.getsockname()) for _ in range(20)]
    server.listener.add_sockets([held])
    server.listener.accept_backlog()
    server.listener.stop()
    for client in clients:
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        assert "200 OK" in await Client(reader, writer).ask()
        writer.close()


@pytest.mark.gen_test
async def test_pipelined_requests_cost_no_answer(server):
    """The last answer arrives whole though requests behind it stay unread."""
    client = await Client.connect(server)
    server.listener.disable_keep_alive()
    client.transport.pause_reading()
    client.send("/big")
    for _ in range(20_000):  # more than the server reads ahead
        client.send("/")
    await asyncio.sleep(0.1)
    client.transport.resume_reading()
    assert "Connection: close" in await client.answer()
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_client_that_went_is_no_failure(server, access_lines):
    """Its answer is dropped, and nothing is logged."""
    client = await Client.connect(server)
    client.send("/slow")
    await eventually(lambda: server.asked)
    server.listener.disable_keep_alive()
    client.transport.abort()
    await asyncio.sleep(0.05)
    server.gate.set()
    await asyncio.wait_for(server.listener.drained(), PATIENCE_SECONDS)
    await asyncio.sleep(0.05)
    assert access_lines.getvalue() == ""


@pytest.mark.gen_test
async def test_workers_share_a_burst(server):
    """Of connections that come at once, no listener takes nearly all."""
    other = server.another_listener()
    both = (server.listener, other)
    clients = [socket.create_connection(server.address) for _ in range(100)]
    await eventually(lambda: sum(each.connections for each in both) == 100)
    assert min(each.connections for each in both) > 25
    for client in clients:
        client.close()


@pytest.mark.gen_test
async def test_counts_make_the_shares_even(server):
    """Two listeners that know each other's counts share a burst nearly evenly."""
    counts, lone = (
        ConnectionCounts(),
        socket.create_server(("127.0.0.1", 0), backlog=200),
    )
    lone.setblocking(False)
    both = [server.another_listener(lone, counts.of(slot)) for slot in (0, 1)]
    clients = [socket.create_connection(lone.getsockname()) for _ in range(100)]
    await eventually(lambda: sum(each.connections for each in both) == 100)
    assert min(each.connections for each in both) > 40
    for client in clients:
        client.close()
    lone.close()


@pytest.mark.gen_test
async def test_who_has_more_leaves_the_next_to_who_has_fewer(server):
    """A listener whose count is well above the other's accepts none of three."""
    counts = ConnectionCounts()
    lone = socket.create_server(("127.0.0.1", 0), backlog=200)
    lone.setblocking(False)
    address = lone.getsockname()
    busy = server.another_listener(lone, counts.of(0))
    clients = [socket.create_connection(address) for _ in range(10)]
    await eventually(lambda: busy.connections == 10)
    idle = server.another_listener(lone, counts.of(1))
    for number in range(1, 4):
        clients.append(socket.create_connection(address))
        await eventually(lambda: busy.connections + idle.connections == len(clients))
        assert idle.connections == number
    for client in clients:
        client.close()
    lone.close()


@pytest.mark.gen_test
async def test_few_of_a_flood_are_told_that_there_is_no_room(server):
    """Of 49 connections too many at once 32 get their 503; the others are closed."""
    held = socket.create_server(("127.0.0.1", 0), backlog=200)
    held.setblocking(False)
    full = server.another_listener(held, max_connections=1)
    clients = [socket.create_connection(held.getsockname()) for _ in range(50)]
    full.accept_backlog()
    answers = []
    for client in clients[1:]:
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        answers.append((await reader.read())[:12])
        writer.close()
    assert answers == [b"HTTP/1.1 503"] * 32 + [b""] * 17
    clients[0].close()
    held.close()


class TestFull:
    """A listener with three places, which are taken."""

    @pytest.fixture(name="full")
    def _full(self, server):
        server.another_listener(max_connections=3)
        server.listeners.pop(0).stop()
        return server.listeners[0]

    @pytest.fixture(name="connect")
    def _connect(self, server):
        clients = []

        async def connect():
            clients.append(await Client.connect(server))
            return clients[-1]

        yield connect
        for client in clients:
            client.writer.close()

    async def taken(self, connect, full, sent):
        """Three clients that have sent this, and it has been read."""
        clients = [await connect() for _ in range(3)]
        for client in clients:
            client.writer.write(sent)
        await eventually(
            lambda: [each._requests.running for each in full._open] == [bool(sent)] * 3
        )
        return clients

    @pytest.mark.parametrize("sent", [b"", b"GET / HT"])
    @pytest.mark.gen_test
    async def test_who_sends_no_request_gives_way(self, server, full, connect, sent):
        """The first of them to the first newcomer; the others stay."""
        clients = await self.taken(connect, full, sent)
        server.clock.now += 1.1
        newcomer = await connect()
        assert (await newcomer.ask()).startswith("HTTP/1.1 200")
        assert await clients[0].ended()
        assert full.connections == 3
        clients[1].writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[len(sent) :])
        assert (await clients[1].answer()).startswith("HTTP/1.1 200")

    @pytest.mark.gen_test
    async def test_who_has_just_come_keeps_the_place(self, full, connect):
        """A request may be on its way: the newcomer is refused."""
        clients = await self.taken(connect, full, b"")
        newcomer = await connect()
        assert (await newcomer.answer()).startswith("HTTP/1.1 503")
        for client in clients:
            assert (await client.ask()).startswith("HTTP/1.1 200")

    @pytest.mark.gen_test
    async def test_who_is_being_answered_keeps_the_place(self, server, full, connect):
        """However long that takes."""
        clients = await self.taken(
            connect, full, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        await eventually(lambda: len(server.asked) == 3)
        server.clock.now += 5
        newcomer = await connect()
        assert (await newcomer.answer()).startswith("HTTP/1.1 503")
        server.gate.set()
        for client in clients:
            assert (await client.answer()).startswith("HTTP/1.1 200")


@pytest.mark.gen_test
async def test_a_hung_listener_delays_nobody(server):
    """One that hangs with few connections is waited for once only."""
    counts, lone = (
        ConnectionCounts(),
        socket.create_server(("127.0.0.1", 0), backlog=200),
    )
    lone.setblocking(False)
    counts.of(1).publish(0)
    listener = server.another_listener(lone, counts.of(0))
    clients = [socket.create_connection(lone.getsockname()) for _ in range(100)]
    await eventually(lambda: listener.connections == 100)
    for client in clients:
        client.close()
    await listener.close_all_connections()
    assert counts.of(1).excess == 0
    lone.close()


@pytest.mark.gen_test
async def test_running_out_of_files_is_survived(server, access_lines, monkeypatch):
    """Connections wait without the loop spinning, and are served afterwards."""
    listening = "aims_server.http_server.listener"
    monkeypatch.setattr(f"{listening}._ACCEPT_ERROR_SECONDS", 2.0)
    client = socket.create_connection(server.address)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), limits[1]))
    try:
        await eventually(access_lines.getvalue)
        await asyncio.sleep(0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert access_lines.getvalue().count("Too many open files") == 1
    client.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=client)
    assert "200 OK" in await asyncio.wait_for(
        Client(reader, writer).ask(), PATIENCE_SECONDS
    )
    writer.close()
