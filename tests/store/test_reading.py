"""When the stream of refusals cannot be read: how soon it is tried again, and who is
told.
"""

import asyncio
from itertools import pairwise

import pytest

from aims_server.primitives import Epochs
from aims_server.store.cursor import SharedCursor
from aims_server.store.invalidation import Invalidations
from aims_server.store.sealing import Secrets
from tests.virtual_time import Clock, virtual_loop

from .conftest import Observer

pytestmark = pytest.mark.gen_test

UNKNOWN = "Tokens refused on other machines are not known here"
KNOWN = "Tokens refused on other machines are known again"


@pytest.fixture(name="clock")
def _clock():
    return Clock()


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


class Stream:
    """A connection on which nothing is new, or nothing can be read."""

    def __init__(self, clock):
        self.fails = False
        self.opened = []
        self.connection_pool = self
        self._clock = clock

    def open(self, silence):
        """A new one, as it were."""
        self._silence = silence
        self.opened.append(self._clock.now)
        return self

    async def disconnect(self):
        """It ends."""

    async def xrevrange(self, stream, count):
        """The newest entry: there is none."""
        self._check()
        return []

    async def xread(self, streams, count, block):
        """What is new: nothing."""
        await asyncio.sleep(0.05)
        self._check()
        assert block < 1000 * self._silence, "a server that is well is given up"
        return []

    def _check(self):
        if self.fails:
            raise ConnectionResetError(104, "Connection reset by peer")


class Client:
    """One whose circuit somebody may open."""

    where = "redis://store.example:6379/0"

    def __init__(self):
        self.reasons = []

    def open_circuit(self, reason):
        """Note why."""
        self.reasons.append(reason)


@pytest.fixture(name="stream")
def _stream(clock):
    return Stream(clock)


@pytest.fixture(name="client")
def _client():
    return Client()


@pytest.fixture(name="reading")
def _reading(io_loop, stream, client, caplog):
    """A worker that reads it."""
    caplog.set_level("INFO")
    secrets = Secrets(bytes(32))
    reading = Invalidations(
        secrets, Epochs(), SharedCursor(), Observer(), lifetime=2100
    )
    io_loop.run_until_complete(begun(reading, client, stream))
    yield reading
    io_loop.run_until_complete(reading.close())


async def begun(reading, client, stream):
    """Have it begin."""
    reading.start(client, stream.open)


async def fail_for(stream, seconds):
    """Let it fail for so long; the pauses between the tries, in tenths of a second."""
    stream.fails = True
    stream.opened.clear()
    await asyncio.sleep(seconds)
    stream.fails = False
    return [round(10 * (after - at)) for at, after in pairwise(stream.opened)]


async def test_a_short_fault_is_told_to_nobody(reading, stream, client, caplog):
    """A fault as short as a restart of the store is not logged."""
    for _ in range(3):
        await asyncio.sleep(5)
        await fail_for(stream, 0.6)
    await asyncio.sleep(5)
    assert caplog.messages == []
    assert client.reasons == []


async def test_a_long_fault_is_told_once_and_its_end(reading, stream, client, caplog):
    """It is tried ever more seldom; what is kept is served on, and the store used."""
    for _ in range(2):
        await asyncio.sleep(5)
        caplog.clear()
        assert await fail_for(stream, 10) == [2, 4, 8, 16, 20, 20, 20]
        await asyncio.sleep(5)
        (fault, end) = caplog.messages
        assert fault.startswith(f"{UNKNOWN}: the store at {client.where}")
        assert end == KNOWN
    assert client.reasons == []
