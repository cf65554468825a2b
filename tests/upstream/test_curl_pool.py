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

from aims_server.upstream.curl_pool import CurlPool, Reply, Request

from ..waiting import PATIENCE_SECONDS, eventually
from .far_side import OK, make_pool, request, timed_out

pytestmark = [pytest.mark.both_loops, pytest.mark.gen_test]

SECRETS = (b"secret", b"X-Own", b"POST", b"Content-")


# What a call leaves behind.


async def test_nothing_of_a_call_is_in_the_next_one(pool, far):
    """Neither header nor body nor method stays on the handle."""
    await pool.call(request(far, body=b"secret", X_Own="secret"))
    reply = await pool.call(request(far))
    first, second = far.heard
    assert all(secret in first for secret in SECRETS)
    assert not any(secret in second for secret in SECRETS)
    assert reply == Reply(200, b"{}")


async def test_nothing_of_an_answer_is_in_the_next_one(pool, far):
    """Neither body nor header, of an answer that failed midway either."""
    far.says[b"/long"] = (
        b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nContent-Length: 2000\r\n\r\n"
        + b"x" * 2000
    )
    assert (await pool.call(request(far, "/long"))).kind == "too_large"
    assert await pool.call(request(far)) == Reply(200, b"{}")


async def test_an_interim_answers_headers_are_not_the_answers(pool, far):
    """What a 103 says before the answer is no part of it."""
    far.says[b"/hint"] = b"HTTP/1.1 103 Early\r\nRetry-After: 7\r\n\r\n" + OK
    assert await pool.call(request(far, "/hint")) == Reply(200, b"{}")


async def test_a_header_with_a_line_break_is_refused(pool, far):
    """It would be two headers; and the next call has its handle."""
    for value in ("a\r\nX: b", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="'Own'"):
            pool.call(request(far, Own=value))
    assert await pool.call(request(far)) == Reply(200, b"{}")
    assert len(far.heard) == 1


async def test_a_call_that_cannot_be_put_into_words_costs_no_handle(pool, far):
    """A header in no alphabet of HTTP's fails its own call alone."""
    with pytest.raises(UnicodeEncodeError):
        await pool.call(request(far, Own="\N{SNOWMAN}"))
    assert await pool.call(request(far)) == Reply(200, b"{}")


async def test_a_call_that_curl_does_not_take_costs_no_handle(pool, far):
    """It fails alone, and the next call has its handle."""
    await pool.call(request(far))
    (curl,) = pool._curls
    elsewhere = pycurl.CurlMulti()
    elsewhere.add_handle(curl)  # curl refuses a handle that another multi has
    with pytest.raises(pycurl.error):
        await pool.call(request(far))
    elsewhere.remove_handle(curl)
    assert await pool.call(request(far)) == Reply(200, b"{}")


async def test_a_request_shows_nothing_of_itself(far):
    """Whatever prints one, a debugger's log or a failed task's, prints no secret."""
    shown = repr(request(far, "/secret", body=b"secret", Authorization="secret"))
    assert "secret" not in shown


async def test_tornados_own_way_in_is_shut(pool, far):
    """Calls that go by it would wait for ever."""
    with pytest.raises(TypeError, match="call"):
        pool.fetch(f"http://127.0.0.1:{far.port}/")


# Sockets.


async def test_a_socket_that_takes_a_closed_ones_number_is_heard(pool, far):
    """The far side hangs up between calls, so that each opens a new connection, most
    likely under the number of the one before.
    """
    for _ in range(5):
        assert await pool.call(request(far)) == Reply(200, b"{}")
        far.hang_up()


async def test_a_socket_that_is_hung_up_while_idle_wakes_nobody(far):
    """Once, to be forgotten; not in each turn of the loop from then on."""
    turns: list[int] = []

    class Counted(CurlPool):
        def _on_ready(self):
            turns.append(len(turns))
            super()._on_ready()

    pool = Counted(force_instance=True, max_clients=1, max_body_size=1000)
    await pool.call(request(far))
    turns.clear()
    far.hang_up()
    await eventually(lambda: turns)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(turns) == 1
    assert await pool.call(request(far)) == Reply(200, b"{}")
    pool.close()


async def test_handles_are_made_when_calls_need_them(far):
    """One after the other needs one; at once each its own, as far as there may be."""
    made: list[int] = []

    class Counted(CurlPool):
        def _curl_create(self):
            made.append(len(made))
            return super()._curl_create()

    pool = Counted(force_instance=True, max_clients=3, max_body_size=1000)
    for _ in range(2):
        await pool.call(request(far))
    assert len(made) == 1
    await asyncio.gather(*(pool.call(request(far)) for _ in range(5)))
    assert len(made) == 3
    pool.close()


async def test_a_name_is_looked_up(pool, far):
    """Curl does so in a thread, which wakes the loop through a socket of curl's own."""
    reply = await pool.call(request(far, host="localhost"))
    assert reply == Reply(200, b"{}")


async def test_more_answers_at_once_than_are_read_in_a_turn_are_all_read(far):
    """Those that are left over come in the next turns."""
    pool = await make_pool(50)
    calls = [pool.call(request(far, "/never")) for _ in range(50)]
    await far.has_heard(50)
    far.send_all(OK)
    async with asyncio.timeout(PATIENCE_SECONDS):
        replies = await asyncio.gather(*calls)
    pool.close()
    assert replies == [Reply(200, b"{}")] * 50


# Time.


async def test_a_later_call_may_end_earlier(far):
    """The timer set for a long call gives way to that of a short one."""
    pool = await make_pool(2)
    patient = pool.call(request(far, "/never", seconds=60.0))
    assert timed_out(await pool.call(request(far, "/never", seconds=0.2)))
    assert not patient.done()
    pool.close()


async def test_a_call_ends_in_time_after_one_that_was_answered(far):
    """The timer left by the other call fires too early, and is set anew."""
    pool = await make_pool(2)
    slow = pool.call(request(far, "/never", seconds=0.4))
    await pool.call(request(far, seconds=0.1))
    assert timed_out(await slow)
    pool.close()


async def test_connecting_has_a_limit_of_its_own(pool):
    """A far side that never accepts is given up long before the call's time is over."""
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


async def test_a_closed_pool_is_forgotten(far):
    """With a call under way too: no timer and no socket holds it."""
    pool = await make_pool(2)
    await pool.call(request(far))
    pool.call(request(far, "/never"))
    await far.has_heard(2)
    pool.close()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


# Calls that are given up.


async def test_a_call_that_is_given_up_frees_its_handle(pool, far):
    """At once: its transfer ends, and its connection, on which an answer may come."""
    hung = pool.call(request(far, "/never"))
    await far.has_heard(1)
    waiting = pool.call(request(far))
    hung.cancel()
    assert isinstance(await waiting, Reply)
    assert far.connections == 2


async def test_a_call_that_is_given_up_in_line_is_never_made(pool, far):
    """There was no handle for it yet."""
    hung = pool.call(request(far, "/never"))
    waiting = pool.call(request(far, "/not-made"))
    waiting.cancel()
    await far.has_heard(1)
    hung.cancel()
    await pool.call(request(far, "/"))
    assert not any(b"/not-made" in heard for heard in far.heard)


async def test_giving_up_many_calls_leaves_a_sound_pool(far):
    """At random moments, and beside calls that go on."""
    pool = await make_pool(8)
    for number in range(40):
        calls = [pool.call(request(far, "/never" if n % 2 else "/")) for n in range(8)]
        if number % 2:
            await far.has_heard(len(far.heard) + 1 + number % 8)
        for call in calls[1::2]:
            call.cancel()
        assert all(
            isinstance(reply, Reply) for reply in await asyncio.gather(*calls[::2])
        )
    pool.close()
