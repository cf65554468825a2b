"""The listener over real sockets: whom it accepts, and what it leaves to others."""

import asyncio
import resource
import socket

import pytest

from aims_server.http_server.acceptor import Acceptor
from aims_server.http_server.connection_counts import ConnectionCounts

from ..waiting import PATIENCE_SECONDS, eventually
from .serving import Client

pytestmark = pytest.mark.both_loops


@pytest.fixture(name="lone")
def _lone():
    """A listening socket that no listener accepts on yet."""
    lone = socket.create_server(("127.0.0.1", 0), backlog=200)
    lone.setblocking(False)
    yield lone
    lone.close()


@pytest.fixture(name="connect_to")
def _connect_to():
    """Opens so many connections to a listening socket; the test's end closes them."""
    clients = []

    def connect_to(listening, number):
        made = [
            socket.create_connection(listening.getsockname()) for _ in range(number)
        ]
        clients.extend(made)
        return made

    yield connect_to
    for client in clients:
        client.close()


@pytest.mark.gen_test
async def test_a_backlog_that_never_ends_is_left(lone, connect_to):
    """Clients may connect as fast as they are accepted."""
    accepted = 0

    def serve(connected: socket.socket, _: object) -> None:
        nonlocal accepted
        accepted += 1
        assert accepted < 10_000
        connected.close()
        socket.create_connection(lone.getsockname()).close()

    connect_to(lone, 1)
    acceptor = Acceptor(serve, ConnectionCounts().of(0))
    acceptor.add_sockets([lone.dup()])
    acceptor.accept_backlog()
    acceptor.stop()


@pytest.mark.gen_test
async def test_an_empty_backlog_is_no_failure(lone, access_lines):
    """Nobody is waiting, or another worker was faster."""
    acceptor = Acceptor(lambda *_: None, ConnectionCounts().of(0))
    acceptor.add_sockets([lone.dup()])
    acceptor.accept_backlog()
    acceptor.stop()
    assert access_lines.getvalue() == ""


@pytest.mark.gen_test
async def test_counts_make_the_shares_even(server, lone, connect_to):
    """Two listeners that know each other's counts share a burst nearly evenly."""
    counts = ConnectionCounts()
    both = [server.another_listener(lone, counts.of(slot)) for slot in (0, 1)]
    connect_to(lone, 100)
    await eventually(lambda: sum(each.connections for each in both) == 100)
    assert min(each.connections for each in both) > 40


@pytest.mark.gen_test
async def test_who_has_more_leaves_the_next_to_who_has_fewer(server, lone, connect_to):
    """A listener whose count is well above the other's accepts none of three."""
    counts = ConnectionCounts()
    busy = server.another_listener(lone, counts.of(0))
    clients = connect_to(lone, 10)
    await eventually(lambda: busy.connections == 10)
    idle = server.another_listener(lone, counts.of(1))
    for number in range(1, 4):
        clients.extend(connect_to(lone, 1))
        await eventually(lambda: busy.connections + idle.connections == len(clients))
        assert idle.connections == number


@pytest.mark.gen_test
async def test_a_hung_listener_delays_nobody(server, lone, connect_to):
    """One that hangs with few connections is waited for once only."""
    counts = ConnectionCounts()
    counts.of(1).publish(0)
    listener = server.another_listener(lone, counts.of(0))
    connect_to(lone, 100)
    await eventually(lambda: listener.connections == 100)
    assert counts.of(1).excess == 0


@pytest.mark.gen_test
async def test_who_stops_is_compared_no_longer(server, lone, connect_to):
    """It accepts none, so the others leave none to it; nor when its last ones end."""
    counts = ConnectionCounts()
    other = counts.of(1)
    other.publish(100)
    listener = server.another_listener(lone, counts.of(0))
    clients = connect_to(lone, 2)
    await eventually(lambda: listener.connections == 2)
    assert other.excess == 98
    listener.stop()
    assert other.excess == 0
    clients[0].close()
    await eventually(lambda: listener.connections == 1)
    assert other.excess == 0


@pytest.mark.gen_test
async def test_few_of_a_flood_are_told_that_there_is_no_room(server, lone, connect_to):
    """Of 49 connections too many, 32 get a 503 and the others are closed."""
    full = server.another_listener(lone, max_connections=1)
    clients = connect_to(lone, 50)
    full.accept_backlog()
    answers = []
    for client in clients[1:]:
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        answers.append((await reader.read())[:12])
        writer.close()
    assert answers == [b"HTTP/1.1 503"] * 32 + [b""] * 17


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
            lambda: (
                [each._requests.running for each in full._open if each._connected]
                == [bool(sent)] * 3
            )
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

    @pytest.fixture(name="answered")
    def _answered(self, server, full, connect):
        """Three clients that have had their last answer, and do not close."""

        async def answered():
            clients = await self.taken(connect, full, b"")
            for client in clients:
                assert "Connection: close" in await client.ask(last=True)
            server.clock.now += 0.11
            return clients

        return answered

    @pytest.mark.gen_test
    async def test_who_was_answered_last_gives_way(self, full, connect, answered):
        """A client that does not close would hold its place for a second and more."""
        clients = await answered()
        newcomer = await connect()
        assert (await newcomer.ask()).startswith("HTTP/1.1 200")
        assert await clients[0].ended()
        assert full.connections == 3

    @pytest.mark.gen_test
    async def test_who_still_sends_behind_it_keeps_the_place(self, connect, answered):
        """A reset in the middle of that would cost it the answer."""
        for client in await answered():
            client.writer.write(b"the rest")
        newcomer = await connect()
        assert (await newcomer.answer()).startswith("HTTP/1.1 503")

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
        """A connection with a request under way keeps its place for any time."""
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


@pytest.mark.parametrize("held", [0, 3])
@pytest.mark.gen_test
async def test_running_out_of_files_is_survived(
    server, lone, connect_to, access_lines, monkeypatch, held
):
    """Connections wait without the loop spinning, and are served afterwards; also where
    the listener has some more than another one, and leaves each to it for a moment.
    """
    monkeypatch.setattr("aims_server.http_server.acceptor._ERROR_SECONDS", 1.0)
    counts = ConnectionCounts()
    counts.of(1).publish(0)
    listener = server.another_listener(lone, counts.of(0))
    connect_to(lone, held)
    await eventually(lambda: listener.connections == held)
    (client,) = connect_to(lone, 1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), limits[1]))
    try:
        await eventually(access_lines.getvalue)
        await asyncio.sleep(0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    told = f"Too many open files, with {held} open"
    assert access_lines.getvalue().count(told) == 1
    client.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=client)
    assert "200 OK" in await asyncio.wait_for(
        Client(reader, writer).ask(), PATIENCE_SECONDS
    )
    writer.close()


@pytest.mark.gen_test
async def test_each_lack_of_files_is_told(
    server, lone, connect_to, access_lines, monkeypatch
):
    """It is logged once, and again after descriptors had been free."""
    monkeypatch.setattr("aims_server.http_server.acceptor._ERROR_SECONDS", 0.02)
    listener = server.another_listener(lone)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def lack_files_for(number):
        """So many connections are accepted in the end, and lines told by then."""
        (client,) = connect_to(lone, 1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), limits[1]))
        try:
            await eventually(lambda: access_lines.getvalue().count("many") == number)
            await asyncio.sleep(0.1)  # some tries long
            assert len(access_lines.told()) == number
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await eventually(lambda: listener.connections == number)

    for number in (1, 2):
        await lack_files_for(number)


@pytest.mark.gen_test
async def test_a_stop_ends_the_wait_for_files(
    server, lone, connect_to, access_lines, monkeypatch
):
    """Nothing is done with the closed socket when it would be tried again."""
    monkeypatch.setattr("aims_server.http_server.acceptor._ERROR_SECONDS", 0.02)
    listener = server.another_listener(lone)
    (client,) = connect_to(lone, 1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), limits[1]))
    try:
        await eventually(access_lines.getvalue)
        listener.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await asyncio.sleep(0.05)
    assert len(access_lines.told()) == 1


@pytest.mark.gen_test
async def test_a_stop_ends_a_pause(server, lone, connect_to, access_lines):
    """The same when it would be over in which it leaves the next one to others."""
    counts = ConnectionCounts()
    counts.of(1).publish(0)
    listener = server.another_listener(lone, counts.of(0))
    connect_to(lone, 5)
    await eventually(lambda: listener.connections == 5)
    connect_to(lone, 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it leaves the last one to the other for 2 ms
    listener.stop()
    await asyncio.sleep(0.02)
    assert access_lines.getvalue() == ""
