"""Why the store did not answer, in words that hold nothing of a student's."""

import asyncio

import pytest
from redis.exceptions import BusyLoadingError, ConnectionError, ResponseError

from aims_server.primitives.store_url import StoreAddress
from aims_server.store.connection import Connection, StoreError
from aims_server.store.reasons import reason_in, reason_of
from aims_server.store.redis_clients import open_client

from ..waiting import PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ResponseError("MISCONF Errors writing to the disk"), "MISCONF"),
        (ResponseError("OOM command not allowed"), "it is full and may forget nothing"),
        (ResponseError("2023B1599999 is the key"), "ResponseError"),
        (ResponseError("Ann Nobody"), "ResponseError"),
        (ConnectionError("KEY that was asked for"), "it closed the connection"),
        (ConnectionRefusedError(111, "KEY"), "Connection refused"),
        (KeyError("2023B1599999"), "KeyError"),
    ],
)
def test_only_a_servers_own_word_is_told(error, reason):
    """It is a word in capitals; of other text only the kind of error is logged."""
    assert reason_of(error).startswith(reason)


def test_an_errors_kind_tells_more_than_its_cause():
    """As when a server that is still reading its data has the connection fail."""
    error = BusyLoadingError()
    error.__context__ = ValueError()
    assert reason_of(error) == "it is reading its data"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"ERR max number of clients reached", "it takes no more clients (maxclients)"),
        (b"MASTERDOWN Link with MASTER is down", "it is a replica that has lost its"),
        (b"CLUSTERDOWN Hash slot not served", "it is part of a cluster"),
        (b"MOVED 3999 127.0.0.1:6381", "it is part of a cluster"),
    ],
)
@pytest.mark.gen_test
async def test_what_a_server_answers_to_everything_is_told(answer, reason):
    """Its own words are logged, not a class of redis-py or a closed connection."""

    async def answer_once(reader, writer):
        await reader.read(1)
        writer.write(b"-%s\r\n" % answer)
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    address = StoreAddress.parse(f"redis://127.0.0.1:{port}")
    connection = Connection(open_client(address))
    try:
        with pytest.raises(StoreError) as failure:
            await connection.call("PING", seconds=PATIENCE_SECONDS)
    finally:
        await connection.close()
        server.close()
    assert str(failure.value).startswith(reason)


def test_an_error_that_is_no_text_is_told():
    """A script passes on whatever bytes a server says."""
    assert reason_in(b"NOSCRIPT \xff") == "NOSCRIPT"
