"""One connection for all callers: no answer reaches anybody but its own caller."""

import asyncio
import contextlib
import random

import pytest

from aims_server.primitives.store_url import StoreAddress
from aims_server.store.connection import Connection, Overdue, Refused, StoreError
from aims_server.store.redis_clients import open_client, tls_context

from ..waiting import PATIENCE_SECONDS, eventually
from .server import speaking

pytestmark = pytest.mark.gen_test


@contextlib.asynccontextmanager
async def connected(url, *, ca_file=None, silence=PATIENCE_SECONDS):
    """A connection to this server, which may be slow on a busy machine."""
    address = StoreAddress.parse(url)
    tls = tls_context(address, ca_file)
    connection = Connection(open_client(address, tls=tls, silence=silence))
    try:
        yield connection
    finally:
        await connection.close()


async def test_an_answer_comes_back(server):
    """A command and its answer, bytes as they are."""
    async with connected(server.url) as connection:
        assert await connection.call("SET", "k", b"\x00\xff", seconds=20)
        assert await connection.call("GET", "k", seconds=20) == b"\x00\xff"


async def test_calls_of_one_turn_go_together(server):
    """Twenty callers share one connection and each has its own answer."""
    async with connected(server.url) as connection:
        calls = [connection.call("ECHO", str(n), seconds=20) for n in range(20)]
        assert await asyncio.gather(*calls) == [b"%d" % n for n in range(20)]
        calls = [connection.call("CLIENT", "ID", seconds=20) for _ in range(20)]
        assert len(set(await asyncio.gather(*calls))) == 1


async def test_a_refusal_is_its_callers_alone(server):
    """An error of one command leaves the others of its turn alone."""
    async with connected(server.url) as connection:
        calls = [
            connection.call("ECHO", "a", seconds=20),
            connection.call("HGET", "k", seconds=20),
            connection.call("ECHO", "b", seconds=20),
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [answers[0], answers[2]] == [b"a", b"b"]
        assert isinstance(answers[1], Refused)


async def test_cancelled_callers_mix_up_nothing(server):
    """Of a thousand callers, half of whom leave at random moments, each who stays has
    its own answer.
    """
    chance = random.Random(1)
    async with connected(server.url) as connection:

        async def ask(n):
            assert await connection.call("ECHO", str(n), seconds=20) == b"%d" % n

        tasks = []
        for n in range(1000):
            tasks.append(asyncio.create_task(ask(n)))
            if chance.random() < 0.5:
                asyncio.get_running_loop().call_later(
                    chance.random() * 0.003, tasks[-1].cancel
                )
            if n % 20 == 0:
                await asyncio.sleep(0)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        due = (type(None), asyncio.CancelledError)
        assert [end for end in ended if not isinstance(end, due)] == []
        assert await connection.call("ECHO", "last", seconds=20) == b"last"


async def test_nobody_there(tmp_path):
    """Without a server a call fails at once."""
    async with connected(f"unix://{tmp_path}/none.sock") as connection:
        with pytest.raises(StoreError):
            await connection.call("PING", seconds=20)


async def serves(connection):
    """Ask until nothing is overdue any more."""
    while True:
        with contextlib.suppress(Overdue):
            assert await connection.call("PING", seconds=20)
            return
        await asyncio.sleep(0.002)


async def test_nobody_waits_behind_an_overdue_answer(tmp_path):
    """What has kept one caller waiting for all its patience keeps no other: answers
    come in order.
    """
    answer = asyncio.Event()

    async def talk(reader, writer):
        await reader.readuntil(b"$4\r\nPING\r\n")
        await answer.wait()
        writer.write(b"+PONG\r\n")
        while True:
            await reader.readuntil(b"$4\r\nPING\r\n")
            writer.write(b"+PONG\r\n")

    async with speaking(talk, tmp_path) as url, connected(url) as connection:
        with pytest.raises(StoreError):
            await connection.call("PING", seconds=0.05)
        behind = asyncio.create_task(connection.call("PING", seconds=0.05))
        await asyncio.sleep(0)
        assert behind.done()
        with pytest.raises(Overdue):
            await behind
        answer.set()
        await serves(connection)


async def test_what_nobody_waits_for_is_not_sent(tmp_path):
    """A command whose caller left before its turn came never reaches the server: it
    might take a lease that nobody holds.
    """
    answer = asyncio.Event()
    heard = []

    async def talk(reader, writer):
        while command := await reader.read(1 << 16):
            heard.append(command)
            await answer.wait()
            writer.write(b"+OK\r\n")
        writer.close()

    async with speaking(talk, tmp_path) as url, connected(url) as connection:
        calls = [asyncio.create_task(connection.call("ECHO", "sent", seconds=20))]
        await eventually(lambda: heard)
        for word in ("left", "stays"):
            calls.append(asyncio.create_task(connection.call("ECHO", word, seconds=20)))
        await asyncio.sleep(0)
        calls.pop(1).cancel()
        answer.set()
        assert await asyncio.gather(*calls) == [b"OK", b"OK"]
        assert b"left" not in b"".join(heard)


async def test_a_caller_waits_no_longer_than_it_will(tmp_path):
    """A server that says nothing costs a caller its own patience, and its late answer
    reaches nobody else.
    """
    late = asyncio.Event()

    async def talk(reader, writer):
        await reader.readuntil(b"second\r\n")
        await late.wait()
        writer.write(b"$5\r\nfirst\r\n$6\r\nsecond\r\n")
        await reader.read()
        writer.close()

    async with speaking(talk, tmp_path) as url, connected(url) as connection:
        first = asyncio.create_task(connection.call("ECHO", "first", seconds=0.01))
        second = asyncio.create_task(connection.call("ECHO", "second", seconds=20))
        with pytest.raises(StoreError, match="in time"):
            await first
        late.set()
        assert await second == b"second"


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n",
        b"$1000000000\r\nhalf",
        b"$5\r\nhel",
        b"*3\r\n:1\r\n",
        b"$-7\r\n\r\n",
        b":not a number\r\n",
        b"$5\r\nhelloXX",
        b"",
    ],
)
async def test_what_is_no_answer_closes_the_connection(tmp_path, answer):
    """Garbage, half an answer or none: an error for its caller, and the next call is
    made on another connection.
    """
    connections = []

    async def talk(reader, writer):
        connections.append(writer)
        await reader.read(1 << 16)
        if len(connections) == 1:
            writer.write(answer)
            writer.write_eof()
        else:
            writer.write(b"$4\r\nwell\r\n")
        await reader.read(1 << 16)
        writer.close()

    async with speaking(talk, tmp_path) as url, connected(url) as connection:
        with contextlib.suppress(StoreError):
            assert await connection.call("ECHO", "x", seconds=20) != b"well"
        assert await connection.call("ECHO", "well", seconds=20) == b"well"
        assert len(connections) == 2


async def test_an_answer_of_a_wrong_kind_leaves_none_behind(tmp_path):
    """What comes after it, to another call of its turn, is nobody's."""
    connections = []

    async def talk(reader, writer):
        connections.append(writer)
        asked = await reader.read(1 << 16)
        if len(connections) == 1:
            assert b"early" in asked
            writer.write(b":5\r\n")  # where redis-py expects a text
            if await reader.read(1 << 16):
                writer.write(b"$5\r\nearly\r\n")
        else:
            writer.write(b"$4\r\nlate\r\n")
        await reader.read(1 << 16)
        writer.close()

    async with speaking(talk, tmp_path) as url, connected(url) as connection:
        turn = (("INFO",), ("ECHO", "early"))
        calls = [connection.call(*command, seconds=20) for command in turn]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreError, StoreError]
        assert await connection.call("ECHO", "late", seconds=20) == b"late"


async def test_a_connection_that_ends_after_a_caller_left_is_replaced(tmp_path):
    """Its end concerns nobody any more."""
    left = asyncio.Event()

    async def talk(reader, writer):
        await reader.read(1 << 16)
        if left.is_set():
            writer.write(b"+PONG\r\n")
        await left.wait()
        writer.close()

    async with speaking(talk, tmp_path) as url, connected(url) as connection:
        with pytest.raises(StoreError):
            await connection.call("PING", seconds=0.05)
        left.set()
        await serves(connection)


async def test_a_primary_that_became_a_replica_is_left(server):
    """What a replica refuses to write goes to whom the server's name leads to by then;
    what it lets be read, or refuses for another reason, changes no connection.
    """
    async with connected(server.url) as connection:
        first = await connection.call("CLIENT", "ID", seconds=20)
        with pytest.raises(Refused):
            await connection.call("NO-COMMAND", seconds=20)
        server.ask("REPLICAOF", "127.0.0.1", "9")
        try:
            await connection.call("GET", "k", seconds=20)
            assert await connection.call("CLIENT", "ID", seconds=20) == first
            script = "return redis.call('SET', KEYS[1], '1')"
            with pytest.raises(Refused, match="it is a replica"):
                await connection.call("EVAL", script, 1, "k", seconds=20)
        finally:
            server.ask("REPLICAOF", "NO", "ONE")
        assert await connection.call("CLIENT", "ID", seconds=20) != first


async def test_closing_leaves_nobody_waiting(tmp_path):
    """Callers of a connection that is closed get an error, whether their commands were
    sent or not yet.
    """
    heard = asyncio.Event()

    async def talk(reader, writer):
        await reader.read(1)
        heard.set()
        await reader.read()
        writer.close()

    async with speaking(talk, tmp_path) as url:
        connection = Connection(open_client(StoreAddress.parse(url)))
        sent = asyncio.create_task(connection.call("PING", seconds=60))
        await heard.wait()
        waiting = asyncio.create_task(connection.call("PING", seconds=60))
        await asyncio.sleep(0)
        await connection.close()
        for call in (sent, waiting):
            with pytest.raises(StoreError, match="closed"):
                await call


async def answer_as_a_web_server(_, writer):
    """What a port may lead to that is not the store's."""
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def hang_up(reader, writer):
    """A server at its limit of clients."""
    await reader.read(1024)
    writer.close()


async def say_nothing(reader, writer):
    """One that is stopped."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (answer_as_a_web_server, "what answers there is no store"),
        (hang_up, "it closed the connection"),
        (say_nothing, "no answer in time"),
    ],
)
async def test_what_does_not_answer_is_told_in_words(tmp_path, talk, reason):
    """The reason of a failed call is for an operator, not the name of a class."""
    async with speaking(talk, tmp_path) as url, connected(url, silence=1.0) as asking:
        with pytest.raises(StoreError, match=reason):
            await asking.call("PING", seconds=20)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://127.0.0.1:9", "Connection refused"),
        ("unix:///nowhere/store.sock", "No such file or directory"),
        ("redis+sentinel://127.0.0.1:9/aims", "no sentinel answers"),
    ],
)
async def test_what_cannot_be_reached_is_told_in_words(url, reason):
    """The same where there is no connection."""
    async with connected(url) as connection:
        with pytest.raises(StoreError, match=reason):
            await connection.call("PING", seconds=20)


async def test_what_is_answered_is_held_no_longer(server):
    """Commands and answers may be large."""
    async with connected(server.url) as connection:
        for _ in range(3):
            await connection.call("ECHO", "x", seconds=20)
        assert connection._waiting == []
