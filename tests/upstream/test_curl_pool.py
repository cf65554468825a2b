"""The pool of curl handles by itself, against real sockets: what one call leaves behind
for the next, and how time is kept. What calls come to is in transport/.
"""

import asyncio
import contextlib
import gc
import os
import socket
import struct
import weakref

import msgspec
import pycurl
import pytest

from aims_server.errors import FailureCause
from aims_server.upstream.curl_pool import CurlPool, Reply, Request

from ..waiting import PATIENCE_SECONDS, eventually

pytestmark = [pytest.mark.both_loops, pytest.mark.gen_test]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
IDLE_TOO_LONG = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
SECRETS = (b"secret", b"X-Own", b"POST", b"Content-")


class Listener:
    """A far side that keeps its connections, remembers each request, and answers those
    whose path it knows; of any other it only hears, until told to answer. What it says
    to a path may be a list: the answers to the requests of one connection in turn.
    """

    def __init__(self):
        self.says: dict[bytes, bytes | list[bytes]] = {b"/": OK}
        self.heard: list[bytes] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Condition()

    async def start(self):
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        """Close the port and every connection."""
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    async def has_heard(self, number):
        """Wait for so many requests."""
        async with self._news, asyncio.timeout(PATIENCE_SECONDS):
            await self._news.wait_for(lambda: len(self.heard) >= number)

    def send_all(self, text: bytes):
        """Say something on every connection; it has arrived when this returns."""
        for writer in self._writers:
            if not writer.is_closing():
                # Past uvloop, which would write at the end of this turn.
                os.write(writer.get_extra_info("socket").fileno(), text)

    def hang_up(self):
        """Close every connection."""
        while self._writers:
            self._writers.pop().close()

    def reset(self):
        """Break every connection off, without an end."""
        linger = struct.pack("ii", 1, 0)
        for writer in self._writers:
            accepted = writer.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.hang_up()

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        self.connections += 1
        number = 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(6 if head.startswith(b"POST") else 0)
                async with self._news:
                    self.heard.append(head + body)
                    self._news.notify_all()
                says = self.says.get(head.split(b" ")[1])
                if isinstance(says, list):
                    says = says[number]
                if says is not None:
                    writer.write(says)
                number += 1
        writer.close()


@pytest.fixture(name="far")
def _far(io_loop):
    far = Listener()
    io_loop.run_sync(far.start)
    yield far
    io_loop.run_sync(far.stop)


async def make_pool(handles: int) -> CurlPool:
    """A pool on the running loop."""
    return CurlPool(force_instance=True, max_clients=handles, max_body_size=1000)


@pytest.fixture(name="pool")
def _pool(io_loop, far):
    """A pool of one handle: every call has that of the call before."""
    pool = io_loop.run_sync(lambda: make_pool(1))
    yield pool
    pool.close()


def request(
    far,
    path="/",
    *,
    seconds=PATIENCE_SECONDS,
    host="127.0.0.1",
    body=None,
    **headers,
):
    """A call of the far side."""
    url = f"http://{host}:{far.port}{path}"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(url, headers, body, seconds, seconds)


def timed_out(outcome) -> bool:
    """Whether the time was over before the answer was there."""
    return isinstance(outcome, FailureCause) and outcome.kind.startswith("timeout_")


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


# Connections on which something arrives that nobody asked for.


@pytest.mark.parametrize(
    "stray",
    [STRAY, IDLE_TOO_LONG, b"\r\n", b"garbage", b"H", STRAY[:-1]],
    ids=["answer", "408", "crlf", "garbage", "byte", "part"],
)
async def test_what_arrives_between_calls_is_no_answer(pool, far, stray):
    """However soon the next call is made: it has its own answer, on a new connection,
    and no connection that had something on it is used again.
    """
    for number in range(1, 4):
        assert await pool.call(request(far)) == Reply(200, b"{}")
        assert far.connections == number
        far.send_all(stray)
    assert len(far.heard) == 3


async def test_what_arrives_between_calls_costs_a_post_nothing(pool, far):
    """It has a new connection at any rate."""
    await pool.call(request(far))
    far.send_all(STRAY)
    reply = await pool.call(request(far, body=b"secret"))
    assert reply == Reply(200, b"{}")
    assert len(far.heard) == 2


@pytest.mark.parametrize("length", [2, 100_000])
async def test_what_comes_with_an_answer_is_no_answer(far, length):
    """In the same segment as its end; a long one is read in several pieces."""
    pool = CurlPool(force_instance=True, max_clients=1, max_body_size=length)
    own = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length
    far.says[b"/twice"] = own + STRAY
    for _ in range(3):
        assert await pool.call(request(far, "/twice")) == Reply(
            200, b"x" * length, None
        )
        assert await pool.call(request(far)) == Reply(200, b"{}")
    pool.close()


async def test_an_answer_that_precedes_its_request_is_none(pool):
    """The far side cannot have read what its system has not taken yet: what it says by
    then is an answer to something else.
    """
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.setblocking(False)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        call = pool.call(Request(url, {}, None, PATIENCE_SECONDS, PATIENCE_SECONDS))
        kept, _ = await loop.sock_accept(listening)
        await loop.sock_recv(kept, 4096)
        await loop.sock_sendall(kept, OK)
        assert await call == Reply(200, b"{}")

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
        assert await call == Reply(200, b"{}")
        kept.close()
        new.close()


async def test_a_kept_connection_that_breaks_costs_a_get_nothing(far):
    """Not one of many: curl by itself would try five and give up."""
    pool = await make_pool(20)
    for _ in range(3):
        calls = [pool.call(request(far)) for _ in range(20)]
        assert await asyncio.gather(*calls) == [Reply(200, b"{}")] * 20
        far.reset()
    pool.close()


@pytest.mark.parametrize("refusal", [IDLE_TOO_LONG, b"\r\n", b"garbage\r\n\r\n"])
async def test_a_refusal_of_a_kept_connection_costs_a_get_nothing(pool, far, refusal):
    """The far side closes it just when a call goes out on it."""
    far.says[b"/once"] = [OK, refusal]
    assert await pool.call(request(far, "/once")) == Reply(200, b"{}")
    assert await pool.call(request(far, "/once")) == Reply(200, b"{}")
    assert len(far.heard) == 3


async def test_a_connection_can_be_abandoned(pool, far):
    """Once an answer was wrong, those that follow it on its connection may be as well:
    a call that is under way there is made anew.
    """
    far.says[b"/held"] = [OK, b"", b""]
    assert (await pool.call(request(far))).connection is None
    reply = await pool.call(request(far))
    assert reply.connection is not None
    held = pool.call(request(far, "/held"))
    await far.has_heard(3)
    pool.abandon(reply.connection)
    far.send_all(STRAY)
    assert await held == Reply(200, b"{}")
    assert await pool.call(request(far)) == Reply(200, b"{}")
    assert far.connections == 2
    assert len(far.heard) == 5


async def test_a_connection_is_known_from_its_first_answer_on(far):
    """Curl may give it to the next call before it tells that the first has ended."""
    pool = await make_pool(2)
    first = pool.call(request(far, "/never"))
    await far.has_heard(1)
    far.send_all(OK)
    second = pool.call(request(far))
    replies = await asyncio.gather(first, second)
    came_on = [reply.connection for reply in replies if isinstance(reply, Reply)]
    assert [connection is None for connection in came_on] == [True, False]
    assert far.connections == 1
    pool.close()


async def test_a_fresh_call_uses_no_kept_connection(pool, far):
    """Where the answer on one of them was wrong."""
    await pool.call(request(far))
    fresh = msgspec.structs.replace(request(far), fresh=True)
    assert (await pool.call(fresh)).connection is None
    assert far.connections == 2


async def test_a_new_connection_is_not_tried_twice(pool, far):
    """What it says is the platform's word."""
    far.says[b"/late"] = IDLE_TOO_LONG
    far.says[b"/bad"] = b"garbage\r\n\r\n"
    assert (await pool.call(request(far, "/late"))).status == 408
    far.hang_up()
    assert isinstance(await pool.call(request(far, "/bad")), FailureCause)
    assert len(far.heard) == 2


async def test_a_second_attempt_has_the_time_that_is_left(pool, far):
    """Together they last no longer than one."""
    far.says[b"/once"] = [OK, IDLE_TOO_LONG]
    await pool.call(request(far, "/once"))
    far.says[b"/once"] = [b"", IDLE_TOO_LONG]  # a new connection hears nothing
    assert timed_out(await pool.call(request(far, "/once", seconds=1.0)))
    assert len(far.heard) == 3


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
