"""Answers written together, over real transports."""

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
        """What has arrived since the last look."""
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
def _write_batch(due):
    return WriteBatch(due.append)


@pytest.mark.gen_test
async def test_answers_are_written_at_the_end_of_the_turn(wire, write_batch, due):
    """They are written in order, by one scheduled call."""
    write_batch.add(wire.transport, (b"a", b"b"))
    write_batch.add(wire.transport, (b"c",))
    assert wire.received == b""
    assert len(due) == 1
    due.pop()()
    assert wire.received == b"abc"
    write_batch.add(wire.transport, (b"d",))
    assert len(due) == 1


@pytest.mark.gen_test
async def test_many_do_not_wait(wire, write_batch):
    """Sixty-four are written at once: a thousand would hold the loop."""
    for _ in range(63):
        write_batch.add(wire.transport, (b"x",))
    assert wire.received == b""
    write_batch.add(wire.transport, (b"x",))
    assert wire.received == b"x" * 64


@pytest.mark.gen_test
async def test_an_early_flush_writes_nothing_twice(wire, write_batch, due):
    """The scheduled call finds nothing left."""
    write_batch.add(wire.transport, (b"a",))
    write_batch.flush()
    assert wire.received == b"a"
    due.pop()()
    assert wire.received == b""


@pytest.mark.gen_test
async def test_a_closed_connection_hinders_no_other(wire, write_batch, due):
    """Only its own answer is dropped."""
    other = await Wire.make()
    write_batch.add(other.transport, (b"a",))
    write_batch.add(wire.transport, (b"b",))
    await other.end()
    due.pop()()
    assert wire.received == b"b"
