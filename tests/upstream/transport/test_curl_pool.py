"""The pool of curl handles by itself, against real sockets: what one call leaves behind
for the next, and how time is kept. What calls come to is in transport/, and what comes
on kept connections in test_curl_connections.py.
"""

import asyncio
import gc
import socket
import weakref

import pycurl
import pytest

from aims_server.upstream.transport.curl_pool import CurlPool, Reply, Request

from ...waiting import PATIENCE_SECONDS, eventually
from .scripted_server import OK, make_pool, request, said, timed_out

pytestmark = [pytest.mark.both_loops, pytest.mark.gen_test]

SECRETS = (b"secret", b"X-Own", b"POST", b"Content-")


# What a call leaves behind.


async def test_nothing_of_a_call_is_in_the_next_one(pool, server):
    """Neither header nor body nor method stays on the handle."""
    await pool.call(request(server, body=b"secret", X_Own="secret"))
    reply = await pool.call(request(server))
    first, second = server.heard
    assert all(secret in first for secret in SECRETS)
    assert not any(secret in second for secret in SECRETS)
    assert said(reply) == Reply(200, b"{}")


async def test_nothing_of_an_answer_is_in_the_next_one(pool, server):
    """Neither body nor header, of an answer that failed midway either."""
    server.says[b"/long"] = (
        b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nContent-Length: 2000\r\n\r\n"
        + b"x" * 2000
    )
    assert (await pool.call(request(server, "/long"))).kind == "too_large"
    assert said(await pool.call(request(server))) == Reply(200, b"{}")


async def test_an_interim_answers_headers_are_not_the_answers(pool, server):
    """What a 103 says before the answer is no part of it."""
    server.says[b"/hint"] = b"HTTP/1.1 103 Early\r\nRetry-After: 7\r\n\r\n" + OK
    assert said(await pool.call(request(server, "/hint"))) == Reply(200, b"{}")


async def test_a_header_with_a_line_break_is_refused(pool, server):
    """It would be two headers; and the next call has its handle."""
    for value in ("a\r\nX: b", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="'Own'"):
            pool.call(request(server, Own=value))
    assert said(await pool.call(request(server))) == Reply(200, b"{}")
    assert len(server.heard) == 1


async def test_a_call_that_cannot_be_put_into_words_costs_no_handle(pool, server):
    """A header in no alphabet of HTTP's fails its own call alone."""
    with pytest.raises(UnicodeEncodeError):
        await pool.call(request(server, Own="\N{SNOWMAN}"))
    assert said(await pool.call(request(server))) == Reply(200, b"{}")


async def test_a_call_that_curl_does_not_take_costs_no_handle(pool, server):
    """It fails alone, and the next call has its handle."""
    await pool.call(request(server))
    (curl,) = pool._curls
    elsewhere = pycurl.CurlMulti()
    elsewhere.add_handle(curl)  # curl refuses a handle that another multi has
    with pytest.raises(pycurl.error):
        await pool.call(request(server))
    elsewhere.remove_handle(curl)
    assert said(await pool.call(request(server))) == Reply(200, b"{}")


async def test_a_request_shows_nothing_of_itself(server):
    """Its repr has no secret, so that no debugger or failed task's log does."""
    shown = repr(request(server, "/secret", body=b"secret", Authorization="secret"))
    assert "secret" not in shown


async def test_tornados_own_way_in_is_shut(pool, server):
    """Calls that go by it would wait for ever."""
    with pytest.raises(TypeError, match="call"):
        pool.fetch(f"http://127.0.0.1:{server.port}/")


# Sockets.


async def test_a_socket_that_takes_a_closed_ones_number_is_heard(pool, server):
    """The server hangs up between calls, so that each opens a new connection, most
    likely under the number of the one before.
    """
    for _ in range(5):
        assert said(await pool.call(request(server))) == Reply(200, b"{}")
        server.hang_up()


async def test_a_socket_that_is_hung_up_while_idle_wakes_nobody(server):
    """It wakes the loop once, to be forgotten, and not in every turn."""
    turns: list[int] = []

    class Counted(CurlPool):
        def _on_ready(self):
            turns.append(len(turns))
            super()._on_ready()

    pool = Counted(force_instance=True, max_clients=1, max_body_size=1000)
    await pool.call(request(server))
    turns.clear()
    server.hang_up()
    await eventually(lambda: turns)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(turns) == 1
    assert pool._handles.idle_connections == 0
    assert said(await pool.call(request(server))) == Reply(200, b"{}")
    pool.close()


async def test_handles_are_made_when_calls_need_them(server):
    """One after the other needs one; at once each its own, as far as there may be."""
    made: list[int] = []

    class Counted(CurlPool):
        def _curl_create(self):
            made.append(len(made))
            return super()._curl_create()

    pool = Counted(force_instance=True, max_clients=3, max_body_size=1000)
    for _ in range(2):
        await pool.call(request(server))
    assert len(made) == 1
    await asyncio.gather(*(pool.call(request(server)) for _ in range(5)))
    assert len(made) == 3
    pool.close()


async def test_a_name_is_looked_up(pool, server):
    """Curl does so in a thread, which wakes the loop through a socket of curl's own."""
    reply = await pool.call(request(server, host="localhost"))
    assert said(reply) == Reply(200, b"{}")


async def test_more_answers_at_once_than_are_read_in_a_turn_are_all_read(server):
    """Those that are left over come in the next turns."""
    pool = await make_pool(50)
    calls = [pool.call(request(server, "/never")) for _ in range(50)]
    await server.has_heard(50)
    server.send_all(OK)
    async with asyncio.timeout(PATIENCE_SECONDS):
        replies = await asyncio.gather(*calls)
    pool.close()
    assert list(map(said, replies)) == [Reply(200, b"{}")] * 50


# Time.


async def test_a_later_call_may_end_earlier(server):
    """The timer set for a long call gives way to that of a short one."""
    pool = await make_pool(2)
    patient = pool.call(request(server, "/never", seconds=60.0))
    assert timed_out(await pool.call(request(server, "/never", seconds=0.2)))
    assert not patient.done()
    pool.close()


async def test_a_call_ends_in_time_after_one_that_was_answered(server):
    """The timer left by the other call fires too early, and is set anew."""
    pool = await make_pool(2)
    slow = pool.call(request(server, "/never", seconds=0.4))
    await pool.call(request(server, seconds=0.1))
    assert timed_out(await slow)
    pool.close()


async def test_a_call_with_less_than_a_millisecond_ends(pool, server):
    """Curl, which counts in milliseconds, takes 0 for no limit."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert timed_out(await pool.call(request(server, "/never", seconds=0.0004)))


async def test_connecting_has_a_limit_of_its_own(pool):
    """A server that never accepts is given up long before the call's time is over."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}/"
            async with asyncio.timeout(PATIENCE_SECONDS):
                outcome = await pool.call(Request(url, {}, None, 60.0, 0.2))
            assert timed_out(outcome)


async def test_a_closed_pool_is_forgotten(server):
    """No timer and no socket holds it, with a call under way too."""
    pool = await make_pool(2)
    await pool.call(request(server))
    pool.call(request(server, "/never"))
    await server.has_heard(2)
    pool.close()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


# Calls that are given up.


async def test_a_call_that_is_given_up_frees_its_handle(pool, server):
    """Its transfer and its connection end at once."""
    hung = pool.call(request(server, "/never"))
    await server.has_heard(1)
    waiting = pool.call(request(server))
    hung.cancel()
    assert isinstance(await waiting, Reply)
    assert server.connections == 2


async def test_a_call_that_is_given_up_in_line_is_never_made(pool, server):
    """There was no handle for it yet."""
    hung = pool.call(request(server, "/never"))
    waiting = pool.call(request(server, "/not-made"))
    waiting.cancel()
    await server.has_heard(1)
    hung.cancel()
    assert not pool._under_way
    await pool.call(request(server, "/"))
    assert not any(b"/not-made" in heard for heard in server.heard)


async def test_giving_up_many_calls_leaves_a_sound_pool(server):
    """Calls given up at random moments leave those beside them whole."""
    pool = await make_pool(8)
    for number in range(40):
        calls = [
            pool.call(request(server, "/never" if n % 2 else "/")) for n in range(8)
        ]
        if number % 2:
            await server.has_heard(len(server.heard) + 1 + number % 8)
        for call in calls[1::2]:
            call.cancel()
        assert all(
            isinstance(reply, Reply) for reply in await asyncio.gather(*calls[::2])
        )
    pool.close()
