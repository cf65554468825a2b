"""The listener over real sockets: answers, and the ends of connections in a drain."""

import asyncio
import socket

import pytest

from ..waiting import PATIENCE_SECONDS, eventually
from .serving import Client, Kept, Server

pytestmark = pytest.mark.both_loops

SOON = 0.11  # after an answer no further request is expected


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
async def test_a_connection_behind_its_last_answer_is_idle(server):
    """Draining waits for no client that could close, and does not."""
    client = await Client.connect(server)
    await client.ask(last=True)
    server.clock.now += SOON
    await asyncio.wait_for(server.listener.drained(), PATIENCE_SECONDS)
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_client_that_sends_behind_its_last_answer_is_not_idle(server):
    """Draining leaves it another moment: a reset would cost it the answer."""
    client = await Client.connect(server)
    await client.ask(last=True)
    server.listener.close_timed_out()  # the second begins in which it may send
    server.clock.now += SOON
    client.send("/more")
    emptied = asyncio.ensure_future(server.listener.drained())
    await asyncio.sleep(0.1)
    assert not emptied.done()
    server.clock.now += SOON
    await asyncio.wait_for(emptied, PATIENCE_SECONDS)
    assert await client.ended()


async def send_more(server: Server, client: Client) -> None:
    """Have a client send on behind its last answer; 0.9 s pass."""
    client.send("/more")
    await asyncio.sleep(0.02)
    server.listener.close_timed_out()
    server.clock.now += 0.9


@pytest.mark.gen_test
async def test_a_client_may_finish_sending_behind_its_last_answer(server):
    """It is read from as long as it sends, for the time of a request at most."""
    client = await Client.connect(server)
    await client.ask(last=True)
    await eventually(lambda: client.reader.at_eof())
    for _ in range(12):
        assert server.listener.connections == 1
        await send_more(server, client)
    server.listener.close_timed_out()
    await eventually(lambda: not server.listener.connections)
    client.writer.close()


@pytest.mark.gen_test
async def test_draining_does_not_wait_for_a_client_that_sends_without_end(server):
    """Neither a drain nor a new connection waits for it longer than a second."""
    client = await Client.connect(server)
    await client.ask(last=True)
    await eventually(lambda: client.reader.at_eof())
    for _ in range(2):
        await send_more(server, client)
    (connection,) = server.listener._open
    connection._transport.pause_reading()
    client.send("/more")
    await asyncio.wait_for(server.listener.drained(), PATIENCE_SECONDS)
    client.writer.close()


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
    """A new connection counts as idle after its first second."""
    client = await Client.connect(server)
    server.listener.accept_backlog()
    server.clock.now += 1.1
    await asyncio.wait_for(server.listener.drained(), PATIENCE_SECONDS)
    assert await client.ended()


@pytest.mark.gen_test
async def test_a_connection_without_a_transport_is_not_idle(server):
    """It is not, however long ago it was accepted."""
    client = socket.create_connection(server.address)
    server.listener.accept_backlog()
    server.clock.now += 1.1
    async with asyncio.timeout(PATIENCE_SECONDS):
        await server.listener.drained()  # looks before the loop has had a turn
    assert client.recv(1) == b""
    client.close()


@pytest.mark.gen_test
async def test_a_request_that_waits_unread_is_not_overdue(server):
    """The whole process may have stood still for longer than its client may wait."""
    client = socket.create_connection(server.address)
    client.setblocking(False)
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server.listener.close_timed_out()  # before the loop has had a turn
        answer = await asyncio.get_running_loop().sock_recv(client, 1000)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        server.clock.now += 10
    client.close()


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


class TestLastAnswer:
    """An answer that says it is the last, to a client that does not read it yet."""

    @pytest.fixture(name="begun")
    def _begun(self, server):
        """A client to which such an answer is under way."""
        server.another_listener(fast_path=Kept(server.asked))
        server.listeners.pop(0).stop()

        async def begun(path):
            client = await Client.connect(server)
            client.transport.pause_reading()
            client.send(path, last=True)
            await eventually(lambda: server.asked)
            return client

        return begun

    @pytest.mark.parametrize("path", ["/kept", "/big"])
    @pytest.mark.gen_test
    async def test_no_request_behind_it_is_served(self, server, begun, path):
        """It comes while most of the answer is not sent yet."""
        client = await begun(path)
        client.send("/")
        await asyncio.sleep(0.1)
        client.transport.resume_reading()
        assert (await client.answer()).startswith("HTTP/1.1 200")
        assert await client.ended()
        assert server.asked == [path]

    @pytest.mark.parametrize("path", ["/kept", "/big"])
    @pytest.mark.gen_test
    async def test_who_sends_no_more_gets_it_whole(self, server, begun, path):
        """A half-close cuts nothing off, and the connection ends behind the answer."""
        client = await begun(path)
        client.writer.write_eof()
        await asyncio.sleep(0.1)
        client.transport.resume_reading()
        assert (await client.answer()).startswith("HTTP/1.1 200")
        await eventually(lambda: not server.listeners[0].connections)
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
