"""Kept connections of the pool of curl handles, against real sockets: what comes on one
that nobody asked for, is broken off or refused is no call's answer, and costs none.
"""

import asyncio
import socket
import time

import msgspec
import pytest

from aims_server.errors import FailureCause
from aims_server.upstream.transport import curl_options
from aims_server.upstream.transport.curl_pool import CurlPool, Reply, Request

from ...waiting import EVER_LONGER, PATIENCE_SECONDS
from .scripted_server import OK, STRAY, make_pool, request, said, timed_out
from .secure_server import CERTIFICATE, Http2Server

pytestmark = [pytest.mark.both_loops, pytest.mark.gen_test]

IDLE_TOO_LONG = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "stray",
    [STRAY, IDLE_TOO_LONG, b"\r\n", b"garbage", b"H", STRAY[:-1]],
    ids=["answer", "408", "crlf", "garbage", "byte", "part"],
)
async def test_what_arrives_between_calls_is_no_answer(pool, server, stray):
    """Such a connection is not used again: the next call has a new one."""
    for number in range(1, 4):
        assert said(await pool.call(request(server))) == Reply(200, b"{}")
        assert server.connections == number
        server.send_all(stray)
    assert len(server.heard) == 3


async def test_what_arrives_between_calls_costs_a_post_nothing(pool, server):
    """Stray bytes do not affect a POST, which has a new connection."""
    await pool.call(request(server))
    server.send_all(STRAY)
    reply = await pool.call(request(server, body=b"secret"))
    assert said(reply) == Reply(200, b"{}")
    assert len(server.heard) == 2


@pytest.mark.parametrize("length", [2, 100_000])
async def test_what_comes_with_an_answer_is_no_answer(server, length):
    """It is none, though it comes in the same segment as the answer's end."""
    pool = CurlPool(force_instance=True, max_clients=1, max_body_size=length)
    own = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length
    server.says[b"/twice"] = own + STRAY
    for _ in range(3):
        reply = await pool.call(request(server, "/twice"))
        assert said(reply) == Reply(200, b"x" * length)
        assert said(await pool.call(request(server))) == Reply(200, b"{}")
    pool.close()


async def answered(pool, url, listening):
    """The platform's side of a connection that is kept after a call."""
    loop = asyncio.get_running_loop()
    call = pool.call(Request(url, {}, None, PATIENCE_SECONDS, PATIENCE_SECONDS))
    kept, _ = await loop.sock_accept(listening)
    await loop.sock_recv(kept, 4096)
    await loop.sock_sendall(kept, OK)
    assert said(await call) == Reply(200, b"{}")
    return kept


async def test_an_answer_that_precedes_its_request_is_none(pool):
    """The server cannot have read what its system has not taken yet: what it says by
    then is an answer to something else.
    """
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.setblocking(False)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        kept = await answered(pool, url, listening)

        longer_than_the_buffer = {"Long": "x" * 100_000}
        call = pool.call(
            Request(
                url, longer_than_the_buffer, None, PATIENCE_SECONDS, PATIENCE_SECONDS
            )
        )
        arrived = asyncio.Event()
        loop.add_reader(kept, arrived.set)
        await arrived.wait()
        loop.remove_reader(kept)
        await loop.sock_sendall(kept, STRAY)
        new, _ = await loop.sock_accept(listening)
        await loop.sock_sendall(new, OK)
        assert said(await call) == Reply(200, b"{}")
        kept.close()
        new.close()


async def test_a_kept_connection_that_breaks_hides_no_unreachable_server(pool):
    """Curl makes the call on a new connection, for which nothing has been sent."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listening, socket.socket() as waits:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        listening.setblocking(False)
        address = listening.getsockname()
        url = f"http://127.0.0.1:{address[1]}/"
        kept = await answered(pool, url, listening)

        with socket.create_connection(address):  # the queue is full
            waits.setblocking(False)
            waits.connect_ex(address)
            call = pool.call(Request(url, {}, None, PATIENCE_SECONDS, 0.2))
            await loop.sock_recv(kept, 4096)
            kept.close()
            outcome = await call
        assert outcome == FailureCause("timeout_connect")


async def test_a_kept_connection_that_breaks_costs_a_get_nothing(server):
    """Not one of many: curl by itself would try five and give up."""
    pool = await make_pool(20)
    for _ in range(3):
        calls = [pool.call(request(server)) for _ in range(20)]
        replies = await asyncio.gather(*calls)
        assert list(map(said, replies)) == [Reply(200, b"{}")] * 20
        server.reset()
    pool.close()


@pytest.mark.parametrize("refusal", [IDLE_TOO_LONG, b"\r\n", b"garbage\r\n\r\n"])
async def test_a_refusal_on_a_kept_connection_costs_no_get(pool, server, refusal):
    """The server closes it just when a call goes out on it."""
    server.says[b"/once"] = [OK, refusal]
    assert said(await pool.call(request(server, "/once"))) == Reply(200, b"{}")
    assert said(await pool.call(request(server, "/once"))) == Reply(200, b"{}")
    assert len(server.heard) == 3


async def test_a_connection_is_not_kept_for_ever(pool, server, monkeypatch):
    """Calls that come again and again reach a new server of the platform's name, though
    the former one goes on answering.
    """
    monkeypatch.setattr(curl_options, "CONNECTION_SECONDS", 1)
    began = time.monotonic()
    while server.connections < 2:
        assert said(await pool.call(request(server))) == Reply(200, b"{}")
        assert time.monotonic() < began + PATIENCE_SECONDS
        await asyncio.sleep(0.1)


async def test_a_connection_can_be_abandoned(pool, server):
    """After a wrong answer, other calls on its connection are made anew."""
    server.says[b"/held"] = [OK, b"", b""]
    assert (await pool.call(request(server))).connection is None
    reply = await pool.call(request(server))
    assert reply.connection is not None
    held = pool.call(request(server, "/held"))
    await server.has_heard(3)
    pool.abandon(reply.connection)
    server.send_all(STRAY)
    assert said(await held) == Reply(200, b"{}")
    assert said(await pool.call(request(server))) == Reply(200, b"{}")
    assert server.connections == 2
    assert len(server.heard) == 5


async def test_an_abandoned_connection_is_not_used_again(pool, server):
    """No call was under way on it, which would have ended it."""
    await pool.call(request(server))
    reply = await pool.call(request(server))
    pool.abandon(reply.connection)
    assert said(await pool.call(request(server))) == Reply(200, b"{}")
    assert server.connections == 2


async def test_a_connection_that_ends_with_its_answer_is_not_counted_on(pool, server):
    """A page that is expected has another one opened in its place."""
    server.says[b"/last"] = [OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")]
    assert isinstance(await pool.call(request(server, "/last")), Reply)
    assert pool._handles.idle_connections == 0
    await pool.call(request(server))
    assert pool._handles.idle_connections == 1


async def test_a_connection_is_known_from_its_first_answer_on(server):
    """Curl may give it to the next call before it tells that the first has ended."""
    pool = await make_pool(2)
    first = pool.call(request(server, "/never"))
    await server.has_heard(1)
    server.send_all(OK)
    second = pool.call(request(server))
    replies = await asyncio.gather(first, second)
    came_on = [reply.connection for reply in replies if isinstance(reply, Reply)]
    assert [connection is None for connection in came_on] == [True, False]
    assert server.connections == 1
    pool.close()


async def test_a_fresh_call_uses_no_kept_connection(pool, server):
    """It does not, if an answer on one of them was wrong."""
    await pool.call(request(server))
    fresh = msgspec.structs.replace(request(server), fresh=True)
    assert (await pool.call(fresh)).connection is None
    assert server.connections == 2


async def test_a_new_connection_is_not_tried_twice(pool, server):
    """What it says is the platform's word."""
    server.says[b"/late"] = IDLE_TOO_LONG
    server.says[b"/bad"] = b"garbage\r\n\r\n"
    assert (await pool.call(request(server, "/late"))).status == 408
    server.hang_up()
    assert isinstance(await pool.call(request(server, "/bad")), FailureCause)
    assert len(server.heard) == 2


async def test_a_second_attempt_has_the_time_that_is_left(pool, server):
    """Together they last no longer than one."""
    for seconds in EVER_LONGER:
        server.says[b"/once"] = [OK, IDLE_TOO_LONG]
        await pool.call(request(server, "/once"))
        server.says[b"/once"] = [b"", IDLE_TOO_LONG]  # a new connection hears nothing
        server.heard.clear()
        assert timed_out(await pool.call(request(server, "/once", seconds=seconds)))
        if len(server.heard) == 2:
            return
    raise AssertionError("each was over too soon")


async def test_a_call_given_up_leaves_a_connection_that_lives_to_the_others():
    """Over HTTP/2: the connection has answered another call since this one began."""
    server = Http2Server()
    await server.start()
    pool = CurlPool(
        force_instance=True, max_clients=5, max_body_size=1000, ca_file=str(CERTIFICATE)
    )

    def call():
        times = PATIENCE_SECONDS, PATIENCE_SECONDS
        return pool.call(Request(server.url, {}, None, *times))

    await call()
    server.hangs_on = 2
    given_up = call()
    await server.until(lambda: server.heard == 2)
    await asyncio.sleep(0.05)  # the kernel tells in milliseconds when something came
    await call()
    server.hangs_on = 4
    call()
    await server.until(lambda: server.heard == 4)
    given_up.cancel()
    assert said(await call()) == Reply(200, b"{}")
    assert server.connections == 1
    pool.close()
    await server.stop()
