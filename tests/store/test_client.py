"""When the store is asked, and when it is left alone."""

import asyncio
import logging

import pytest

from aims_server.store.client import StoreClient, StoreUnavailable
from aims_server.store.connection import Overdue, Refused, StoreError
from tests.virtual_time import Clock, settle, virtual_loop

from .conftest import Observer


@pytest.fixture(name="clock")
def _clock():
    return Clock()


_io_loop = pytest.fixture(name="io_loop")(virtual_loop)


class ScriptedConnection:
    """The connection of a client: answers as it is told."""

    def __init__(self):
        self.calls = []
        self.error = None
        self.seconds = 0.0

    async def call(self, *command, seconds):
        """One call."""
        self.calls.append(command[0])
        await asyncio.sleep(min(self.seconds, seconds))
        if self.seconds >= seconds:
            raise StoreError("no answer in time")
        if self.error is not None:
            raise self.error
        return b"OK"

    async def close(self):
        """Nothing is open."""


class Held:
    """What is to be told before the store is used again."""

    def __init__(self):
        self.told = 0
        self.error = None

    async def __call__(self):
        """Tell it."""
        if self.error is not None:
            raise self.error
        self.told += 1


@pytest.fixture(name="connection")
def _connection():
    return ScriptedConnection()


@pytest.fixture(name="held")
def _held():
    return Held()


@pytest.fixture(name="observer")
def _observer():
    return Observer()


@pytest.fixture(name="chance")
def _chance():
    """What is drawn next, from 0 to 1."""
    return [1.0]


@pytest.fixture(name="client")
def _client(io_loop, clock, connection, held, observer, chance):
    client = StoreClient(
        connection,
        observer,
        where="redis://store.example:6379/0",
        patience=0.25,
        catch_up=held,
        clock=clock,
        random=lambda: chance[0],
    )
    yield client
    io_loop.run_until_complete(client.close())


async def fail(client, times):
    """Make so many calls, none of which succeeds."""
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            await client.call("GET")


@pytest.mark.gen_test
async def test_ten_failures_open_it(client, connection, observer):
    """Nine cost their callers something; after the tenth nobody asks any more."""
    connection.error = StoreError("Connection refused")
    await fail(client, 9)
    assert client.state == "closed"
    await fail(client, 1)
    assert client.state == "open"
    await fail(client, 5)
    assert connection.calls == ["GET"] * 10
    assert observer.calls == ["error"] * 10


@pytest.mark.gen_test
async def test_fewer_failures_than_half_open_nothing(client, connection):
    """Eleven good calls of the last twenty keep it closed."""
    for n in range(100):
        connection.error = StoreError("reset") if n % 20 < 9 else None
        if connection.error:
            await fail(client, 1)
        else:
            assert await client.call("GET") == b"OK"
    assert client.state == "closed"


@pytest.mark.gen_test
async def test_ten_failures_open_it_however_seldom_it_is_asked(
    client, clock, connection
):
    """At night a frozen store would hold up every page, and be said to be used."""
    connection.error = StoreError("no answer in time")
    for _ in range(10):
        assert client.state == "closed"
        await fail(client, 1)
        clock.now += 60
    assert client.state == "open"


@pytest.mark.gen_test
async def test_a_slow_store_costs_the_patience(client, clock, connection, observer):
    """Each of ten calls waits a quarter of a second; then none is made."""
    connection.seconds = 30.0
    began = clock.now
    await fail(client, 30)
    assert clock.now - began == pytest.approx(2.5)
    assert observer.calls == ["timeout"] * 10
    assert observer.seconds == pytest.approx([0.25] * 10)


@pytest.mark.gen_test
async def test_what_is_not_asked_behind_a_late_answer_is_no_failure(
    client, connection, observer
):
    """One answer that is late, of which others know, is one failure."""
    connection.error = Overdue("no answer in time to earlier calls")
    await fail(client, 30)
    assert client.state == "closed"
    assert observer.calls == []


@pytest.mark.gen_test
async def test_a_store_that_says_no_is_well(client, connection, observer):
    """A refused command is its caller's misfortune and opens nothing."""
    connection.error = Refused("OOM")
    await fail(client, 30)
    assert client.state == "closed"
    assert observer.calls == ["refused"] * 30


@pytest.mark.gen_test
async def test_what_it_refuses_is_told_once_for_each_reason(client, connection, caplog):
    """It may refuse for days while nothing else about it is ill."""
    for reason in ("it is full", "it is full", "it is a replica", "it is full"):
        connection.error = Refused(reason)
        await fail(client, 1)
    told = [message for message in caplog.messages if "refuses a command" in message]
    assert len(told) == 2
    assert "refuses a command: it is a replica. What" in told[1]


@pytest.mark.gen_test
async def test_it_comes_back_by_a_ping(client, connection, held, observer, caplog):
    """After a second a ping is sent, then what was held back, then it is used again."""
    caplog.set_level(logging.INFO)
    client.open_circuit("test")
    await asyncio.sleep(0.9)
    assert connection.calls == []
    await asyncio.sleep(0.2)
    assert (connection.calls, held.told, client.state) == (["PING"], 1, "closed")
    assert observer.states == ["open", "half-open", "closed"]
    assert caplog.messages[-1] == f"The store at {client.where} is used again"
    assert await client.call("GET") == b"OK"


@pytest.mark.gen_test
async def test_pings_come_ever_more_seldom(client, clock, connection):
    """They come after 1, 2, 4 and 8 s, and then every 10 s."""
    connection.error = StoreError("Connection refused")
    client.open_circuit("test")
    began, seen = clock.now, []
    while clock.now - began < 40:
        before = len(connection.calls)
        await asyncio.sleep(0.5)
        if len(connection.calls) > before:
            seen.append(round(clock.now - began))
    assert seen == [1, 3, 7, 15, 25, 35]


@pytest.mark.gen_test
async def test_it_comes_back_with_all_its_tries(client, connection):
    """What failed before counts no more: another failure does not open it again."""
    connection.error = StoreError("reset")
    await fail(client, 10)
    connection.error = None
    await asyncio.sleep(1.1)
    connection.error = StoreError("reset")
    await fail(client, 9)
    assert client.state == "closed"


@pytest.mark.gen_test
async def test_pings_of_several_workers_do_not_keep_step(client, chance):
    """Each ping comes up to a fifth sooner."""
    chance[0] = 0.0
    client.open_circuit("test")
    await asyncio.sleep(0.79)
    assert client.state == "open"
    await asyncio.sleep(0.02)
    assert client.state == "closed"


@pytest.mark.gen_test
async def test_it_stays_open_until_everything_is_told(client, held):
    """A ping alone lets nobody in."""
    held.error = StoreUnavailable()
    client.open_circuit("test")
    await asyncio.sleep(5)
    assert client.state == "open"
    held.error = None
    await asyncio.sleep(5)
    assert (client.state, held.told) == ("closed", 1)


@pytest.mark.gen_test
async def test_calls_from_before_it_opened_say_nothing(client, connection, caplog):
    """What was under way when it opened cannot open it again when it is back."""
    connection.seconds = 30.0
    calls = [asyncio.create_task(client.call("GET")) for _ in range(20)]
    await settle()
    client.open_circuit("test")
    await asyncio.gather(*calls, return_exceptions=True)
    assert caplog.text.count("is not used") == 1
    connection.seconds = 0.0
    await asyncio.sleep(1.5)
    assert client.state == "closed"
