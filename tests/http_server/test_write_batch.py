"""What goes out together, over real transports."""

import asyncio
import socket

import pytest

from aims_server.http_server.write_batch import WriteBatch

pytestmark = pytest.mark.both_loops


class Wire:
    """One transport of the event loop and the socket at its other end."""

    def __init__(self, transport, client):
        self.transport = transport
        self.client = client

    @classmethod
    async def make(cls):
        """Connect both ends."""
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours)
        theirs.setblocking(False)
        return cls(transport, theirs)

    @property
    def received(self):
        """What has arrived and was not looked at yet."""
        try:
            return self.client.recv(65536)
        except BlockingIOError:
            return b""

    async def end(self):
        """Close both ends."""
        self.client.close()
        self.transport.close()
        await asyncio.sleep(0.01)


@pytest.fixture(name="wire")
def _wire(io_loop):
    wire = io_loop.run_sync(Wire.make)
    yield wire
    io_loop.run_sync(wire.end)


@pytest.fixture(name="due")
def _due():
    """Functions to be called in a moment."""
    return []


@pytest.fixture(name="write_batch")
def _outbox(due):
    return WriteBatch(due.append)


@pytest.mark.gen_test
async def test_answers_wait_for_the_end_of_the_turn(wire, write_batch, due):
    """Then all go out, in order; one call for all of them was asked for."""
    write_batch.post(wire.transport, (b"a", b"b"))
    write_batch.post(wire.transport, (b"c",))
    assert wire.received == b""
    assert len(due) == 1
    due.pop()()
    assert wire.received == b"abc"
    write_batch.post(wire.transport, (b"d",))
    assert len(due) == 1


@pytest.mark.gen_test
async def test_many_do_not_wait(wire, write_batch):
    """Sixty-four are sent at once: to send a thousand would hold the loop."""
    for _ in range(63):
        write_batch.post(wire.transport, (b"x",))
    assert wire.received == b""
    write_batch.post(wire.transport, (b"x",))
    assert wire.received == b"x" * 64


@pytest.mark.gen_test
async def test_to_send_early_sends_nothing_twice(wire, write_batch, due):
    """What was due finds nothing left."""
    write_batch.post(wire.transport, (b"a",))
    write_batch.send()
    assert wire.received == b"a"
    due.pop()()
    assert wire.received == b""


@pytest.mark.gen_test
async def test_a_closed_connection_hinders_no_other(wire, write_batch, due):
    """Its answer goes nowhere."""
    other = await Wire.make()
    write_batch.post(other.transport, (b"a",))
    write_batch.post(wire.transport, (b"b",))
    await other.end()
    due.pop()()
    assert wire.received == b"b"
