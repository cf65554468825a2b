"""The stream that Tornado's parser reads, over a real socket pair."""

import asyncio
import socket
import time
from itertools import pairwise

import pytest
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

from aims_server.http_server.iostream import Stream
from aims_server.http_server.write_batch import WriteBatch

from ..waiting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.both_loops


class End(asyncio.Protocol):
    """The server's end: passes every event to the stream."""

    def connection_made(self, transport):
        """Make the stream."""
        soon = asyncio.get_running_loop().call_soon
        self.stream = Stream(transport, WriteBatch(soon), transport.close)

    def data_received(self, data):
        """Feed it."""
        self.stream.reads.feed(data)

    def eof_received(self):
        """Half-close."""
        self.stream.reads.feed_eof()
        return True

    def pause_writing(self):
        """Above the high-water mark."""
        self.stream.writes.pause()

    def resume_writing(self):
        """Below the low-water mark."""
        self.stream.writes.resume()

    def connection_lost(self, exc):
        """Closed."""
        self.stream.connection_lost()


class Pair:
    """A stream and the socket at its other end."""

    def __init__(self, stream, client):
        self.stream = stream
        self.client = client

    @classmethod
    async def make(cls):
        """Connect both ends."""
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, end = await loop.connect_accepted_socket(End, ours)
        theirs.setblocking(False)
        return cls(end.stream, theirs)

    async def end(self):
        """Close both ends."""
        self.client.close()
        self.stream.close()
        await asyncio.sleep(0.01)


@pytest.fixture(name="pair")
def _pair(io_loop):
    pair = io_loop.run_sync(Pair.make)
    yield pair
    io_loop.run_sync(pair.end)


async def within(awaitable):
    """Its result, which must come."""
    return await asyncio.wait_for(awaitable, PATIENCE_SECONDS)


@pytest.mark.gen_test
async def test_a_read_waits_for_its_bytes(pair):
    """It returns what ends with the match, in however many pieces that comes."""
    reading = pair.stream.read_until_regex(b"\r?\n\r?\n", max_bytes=100)
    pair.client.send(b"head\r")
    await asyncio.sleep(0.02)
    assert not reading.done()
    pair.client.send(b"\n\r\nbody")
    assert await within(reading) == b"head\r\n\r\n"
    assert len(pair.stream.reads) == 4


@pytest.mark.gen_test
async def test_a_trickled_head_costs_linear_time(pair):
    """Each byte is searched a few times, however many came before it."""
    reading = pair.stream.read_until_regex(b"\r?\n\r?\n", max_bytes=32_768)
    began = time.process_time()
    for _ in range(32_000):
        pair.stream.reads.feed(b"a")
    # 0.03 s; searched from the beginning each time it was 3.3.
    assert time.process_time() - began < 0.6
    for byte in (b"\r", b"\n", b"\r", b"\n", b"b"):
        pair.stream.reads.feed(byte)
    assert (await within(reading))[-5:] == b"a\r\n\r\n"


@pytest.mark.gen_test
async def test_a_read_of_what_is_there_is_done_at_once(pair):
    """A read of buffered bytes completes without a turn of the loop."""
    pair.client.send(b"5\r\nabcde")
    await eventually(lambda: len(pair.stream.reads) == 8)
    assert pair.stream.read_until_regex(b"\r\n", max_bytes=64).result() == b"5\r\n"
    assert pair.stream.read_bytes(3).result() == b"abc"
    assert pair.stream.read_bytes(10, partial=True).result() == b"de"
    assert len(pair.stream.reads) == 0


@pytest.mark.gen_test
async def test_read_bytes_waits_for_all_of_them(pair):
    """Without ``partial`` a read waits for all its bytes."""
    pair.client.send(b"ab")
    reading = pair.stream.read_bytes(3)
    await asyncio.sleep(0.02)
    assert not reading.done()
    pair.client.send(b"cd")
    assert await within(reading) == b"abc"


@pytest.mark.gen_test
@pytest.mark.parametrize("sent", [b"x" * 65, b"x" * 64 + b"\r\n"])
async def test_a_match_past_the_bound_fails_the_read(pair, sent):
    """A match beyond the bound, or none within it, fails the read."""
    pair.client.send(sent)
    with pytest.raises(UnsatisfiableReadError):
        await within(pair.stream.read_until_regex(b"\r\n", max_bytes=64))


@pytest.mark.gen_test
async def test_after_eof_the_buffer_can_be_read(pair):
    """What is buffered can be read; the next read fails."""
    pair.client.send(b"last")
    pair.client.shutdown(socket.SHUT_WR)
    await eventually(lambda: pair.stream.reads.at_eof)
    assert not pair.stream.closed()
    assert await within(pair.stream.read_bytes(4)) == b"last"
    with pytest.raises(StreamClosedError):
        await within(pair.stream.read_bytes(1))


@pytest.mark.parametrize("ended_by", ["client", "stream"])
@pytest.mark.gen_test
async def test_a_waiting_read_ends_with_the_connection(pair, ended_by):
    """The close callback is called once."""
    told = []
    pair.stream.set_close_callback(lambda: told.append(1))
    reading = pair.stream.read_bytes(1)
    getattr(pair, ended_by).close()
    with pytest.raises(StreamClosedError):
        await within(reading)
    pair.stream.close()
    await eventually(lambda: told)
    assert told == [1]
    assert pair.stream.closed()


@pytest.mark.gen_test
async def test_a_waiting_write_ends_before_the_close_is_told(pair):
    """Tornado's parser, told of the close, forgets who waits for a write."""
    told: list[str] = []
    pair.stream.set_close_callback(lambda: told.append("closed"))
    writing = pair.stream.write(b"x" * 8_000_000)
    writing.add_done_callback(lambda _: told.append("write failed"))
    pair.client.close()
    await eventually(lambda: len(told) == 2)
    assert told == ["write failed", "closed"]


@pytest.mark.gen_test
async def test_a_slow_reader_is_waited_for(pair):
    """A write of more than the sockets hold is done when the client has read."""
    writing = pair.stream.write(b"x" * 8_000_000)
    await eventually(lambda: pair.stream.writes.paused)
    assert not writing.done()
    loop = asyncio.get_running_loop()
    received = 0
    while received < 8_000_000:
        received += len(await within(loop.sock_recv(pair.client, 2**20)))
    await within(writing)
    assert not pair.stream.writes.paused
    assert pair.stream.write(b"y").done()


class FastReader(asyncio.Transport):
    """A transport whose client has read whatever is written at once."""

    def __init__(self):
        super().__init__()
        self.written = 0

    def is_closing(self):
        """Never."""
        return False

    def write(self, data):
        """Count it."""
        self.written += len(data)


@pytest.mark.gen_test
async def test_a_large_write_leaves_turns_of_the_loop_to_others():
    """A client that reads as fast as it is written to holds nobody up."""
    transport = FastReader()
    soon = asyncio.get_running_loop().call_soon
    stream = Stream(transport, WriteBatch(soon), lambda: None)
    written = asyncio.ensure_future(stream.write(bytes(3 * 2**20)))
    seen = []
    while not written.done():
        seen.append(transport.written)
        await asyncio.sleep(0)
    most = max(after - before for before, after in pairwise([*seen, 3 * 2**20]))
    assert most <= 2**20
    await asyncio.sleep(0)  # the batch is written at the end of a turn
    assert transport.written == 3 * 2**20


@pytest.mark.gen_test
async def test_writes_fail_when_the_client_is_gone(pair):
    """The one that waits and the one after it."""
    waiting = pair.stream.write(b"x" * 8_000_000)
    pair.client.close()
    with pytest.raises(StreamClosedError):
        await within(waiting)
    with pytest.raises(StreamClosedError):
        await within(pair.stream.write(b"x"))


@pytest.mark.gen_test
async def test_reading_pauses_when_nothing_is_taken(pair):
    """The buffer is bounded; taking from it resumes reading."""
    sent, whole = 0, 4_000_000
    for _ in range(100):
        await asyncio.sleep(0.001)
        try:
            sent += pair.client.send(b"x" * (whole - sent))
        except BlockingIOError:
            continue
    assert sent < whole
    assert len(pair.stream.reads) < 1_000_000
    loop = asyncio.get_running_loop()
    rest = asyncio.create_task(loop.sock_sendall(pair.client, b"x" * (whole - sent)))
    taken = 0
    while taken < whole:
        taken += len(await within(pair.stream.read_bytes(65536, partial=True)))
    await within(rest)


@pytest.mark.gen_test
async def test_one_read_at_a_time(pair):
    """A second one raises."""
    pair.stream.read_bytes(1)
    with pytest.raises(RuntimeError):
        pair.stream.read_bytes(1)
