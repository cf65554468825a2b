"""Connections that are opened before there is a request for them, over real TLS."""

import asyncio
import gc
import socket
import time
import weakref
from functools import partial

import pycurl
import pytest

from aims_server.errors import FailureCause
from aims_server.upstream.transport import preconnections
from aims_server.upstream.transport.curl_pool import CurlPool, Reply, Request

from ...waiting import EVER_LONGER, PATIENCE_SECONDS, eventually
from .scripted_server import said
from .secure_server import CERTIFICATE, OK, Http2Server, SecureServer

pytestmark = [pytest.mark.both_loops, pytest.mark.gen_test]

ANSWER = Reply(200, b"{}")
HANDLES = 20


@pytest.fixture(name="server")
def _server(io_loop, request):
    """A server that speaks HTTP/1.1, or what the test asks for."""
    server = getattr(request, "param", SecureServer)()
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.fixture(name="pool")
def _pool(io_loop, server):
    async def make():
        return CurlPool(
            force_instance=True,
            max_clients=HANDLES,
            max_body_size=1000,
            ca_file=str(CERTIFICATE),
        )

    pool = io_loop.run_sync(make)
    yield pool
    pool.close()


def call(pool, server, *, body=None, seconds=PATIENCE_SECONDS):
    """A call of the server."""
    url = f"{server.url}path?query"
    return pool.call(Request(url, {}, body, seconds, 2 * PATIENCE_SECONDS))


def withheld(pool):
    """Whether a server has said hello on every connection that is opened."""
    opened = pool.preconnections.unclaimed.values()
    return all(begun.withheld is not None for begun in opened)


@pytest.mark.parametrize("path", ["", "/", "/api/v1"])
async def test_a_prepared_connection_serves_the_first_call(pool, server, path):
    """It is opened without a request, whatever path the platform's address has."""
    pool.preconnections.prepare(server.url.rstrip("/") + path)
    await server.until(lambda: server.connections == 1)
    assert said(await call(pool, server)) == ANSWER
    assert (server.connections, server.targets) == (1, [b"/path?query"])


async def test_a_call_that_comes_early_waits_for_the_prepared_connection(pool, server):
    """The handshake is under way, and no second one begins."""
    pool.preconnections.prepare(server.url)
    assert said(await call(pool, server)) == ANSWER
    assert (server.connections, server.heard) == (1, 1)


async def test_expected_calls_find_their_connections(pool, server):
    """One is kept from a call before; the others are opened, and none beside them."""
    await call(pool, server)
    with pool.preconnections.expect(server.url, 5):
        await server.until(lambda: server.connections == 5)
    replies = await asyncio.gather(*(call(pool, server) for _ in range(5)))
    assert list(map(said, replies)) == [ANSWER] * 5
    assert (server.connections, server.heard) == (5, 6)


async def test_calls_expected_side_by_side_count_on_no_connection_twice(pool, server):
    """Two pages need as many as both have calls, less the one that is kept."""
    await call(pool, server)
    with (
        pool.preconnections.expect(server.url, 2),
        pool.preconnections.expect(server.url, 3),
    ):
        await server.until(lambda: server.connections == 5)
    replies = await asyncio.gather(*(call(pool, server) for _ in range(5)))
    assert list(map(said, replies)) == [ANSWER] * 5
    assert (server.connections, server.heard) == (5, 6)


async def test_what_was_expected_before_needs_no_connection_any_more(pool, server):
    """The next calls find those that are kept."""
    await call(pool, server)
    with pool.preconnections.expect(server.url, 3):
        await server.until(lambda: server.connections == 3)
    await asyncio.gather(*(call(pool, server) for _ in range(3)))
    with pool.preconnections.expect(server.url, 3):
        await call(pool, server)
    assert server.connections == 3


class Unreliable(SecureServer):
    """Answers its first request, and none or a half of each other one."""

    half = b""

    async def _serve(self, reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self._hear()
            writer.write(OK if self.heard == 1 else self.half)
            if self.heard > 1 and self.half:
                return


@pytest.mark.parametrize("server", [Unreliable], indirect=True)
async def test_a_cancelled_call_leaves_no_connection_to_count_on(pool, server):
    """A cancelled call's connection is not counted as idle."""
    await call(pool, server)
    assert pool._handles.idle_connections == 1
    hanging = call(pool, server)
    await server.until(lambda: server.heard == 2)
    hanging.cancel()
    assert pool._handles.idle_connections == 0


@pytest.mark.parametrize("server", [Unreliable], indirect=True)
async def test_a_call_cut_short_leaves_no_connection_to_count_on(pool, server):
    """The kept connection of a call cut short is not counted as idle."""
    server.half = OK[:-1]
    await call(pool, server)
    assert isinstance(await call(pool, server), FailureCause)
    assert pool._handles.idle_connections == 0


async def test_it_is_not_bound_by_the_time_of_an_earlier_call(
    pool, server, silent, monkeypatch
):
    """The time-out of the handle's earlier call does not end a preconnection."""
    _, url = silent
    monkeypatch.setattr(preconnections, "_LIFETIME_SECONDS", PATIENCE_SECONDS)
    assert isinstance(await pool.call(Request(url, {}, None, 0.1, 0.1)), FailureCause)
    pool.preconnections.prepare(server.url)
    await asyncio.sleep(0.3)
    assert len(pool.preconnections) == 1


async def test_before_the_first_answer_a_connection_is_waited_for(pool, server):
    """Before the first answer one connection is awaited, which calls may share."""
    with pool.preconnections.expect(server.url, 3):
        assert server.connections == 0
        assert said(await call(pool, server)) == ANSWER
        await server.until(lambda: server.connections >= 3)
    replies = await asyncio.gather(*(call(pool, server) for _ in range(3)))
    assert list(map(said, replies)) == [ANSWER] * 3
    assert server.connections in (3, 4)  # the first one may have been free by then
    assert server.heard == 4


async def test_a_handshake_that_hangs_ends_with_the_time_to_connect(pool):
    """Not with the call's, though curl sets no alarm for the time to connect."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        silent.setblocking(False)
        pool.preconnections.prepare(url)
        # As on a busy machine, curl takes its first step later than it was told to.
        time.sleep(0.02)  # noqa: ASYNC251 - the loop is to stand still
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        with connection:
            answer = await pool.call(Request(url, {}, None, 50.0, 0.3))
    assert answer.kind == "timeout_tls"


@pytest.mark.parametrize("server", [Http2Server], indirect=True)
async def test_over_http2_none_is_opened(pool, server):
    """All calls share one connection, whether that is known before or not."""
    for pause in (0.2, 0.0, 0.0):
        with pool.preconnections.expect(server.url, 5):
            assert said(await call(pool, server)) == ANSWER
            await asyncio.sleep(pause)  # those that are begun now share the connection
        await eventually(lambda: not len(pool.preconnections))
        replies = await asyncio.gather(*(call(pool, server) for _ in range(5)))
        assert list(map(said, replies)) == [ANSWER] * 5
    assert (server.connections, server.heard) == (1, 18)


@pytest.mark.parametrize("server", [Http2Server], indirect=True)
async def test_over_http2_a_server_may_say_something_between_calls(pool, server):
    """A ping is no answer, for it has no stream: the connection is used again."""
    for _ in range(3):
        assert said(await call(pool, server)) == ANSWER
        server.ping()
    assert server.connections == 1


async def test_a_call_that_comes_too_late_opens_its_own(pool, server, monkeypatch):
    """What nobody has claimed for some seconds is given up."""
    monkeypatch.setattr(preconnections, "_LIFETIME_SECONDS", 0.5)
    pool.preconnections.prepare(server.url)
    await server.until(lambda: server.connections == 1)
    await eventually(lambda: not len(pool.preconnections))
    assert said(await call(pool, server)) == ANSWER
    assert (server.connections, server.heard) == (2, 1)
    assert len(pool._curls) == 1  # the same handle


@pytest.fixture(name="silent")
def _silent(pool):
    """A socket that takes connections, and their URL; nobody there speaks TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening, f"https://127.0.0.1:{listening.getsockname()[1]}/"


async def test_a_connection_that_nobody_claims_is_closed(pool, silent, monkeypatch):
    """It is closed by us, so that servers see no connections without a request."""
    # On a busy machine curl may take longer than some hundredths to begin.
    monkeypatch.setattr(preconnections, "_LIFETIME_SECONDS", 1.0)
    listening, url = silent
    pool.preconnections.prepare(url)
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listening)
    with connection:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await loop.sock_recv(connection, 65536):
                pass  # what it begins the handshake with


async def test_a_broken_preconnection_costs_no_call(pool, silent):
    """The server may give up waiting for the end of the handshake: the call that has
    claimed it tries a new one.
    """
    listening, url = silent
    loop = asyncio.get_running_loop()
    pool.preconnections.prepare(url)
    for _ in range(2):
        connection, _ = await loop.sock_accept(listening)
        await loop.sock_recv(connection, 1)
        connection.close()
        outcome = pool.call(Request(url, {}, None, PATIENCE_SECONDS, PATIENCE_SECONDS))
    connection, _ = await loop.sock_accept(listening)
    connection.close()
    assert isinstance(await outcome, FailureCause)


async def test_an_address_that_refuses_costs_no_call(pool, server):
    """Curl goes on to the host's next address by an alarm of its own, and closes the
    socket of which it was not told that its end has come.
    """
    port = server.url.rpartition(":")[2].strip("/")
    url = f"https://localhost:{port}/path?query"
    curl = pool._handles.take(url)
    curl.setopt(pycurl.RESOLVE, [f"localhost:{port}:[::1],127.0.0.1"])
    pool._handles._free.append(curl)
    pool.preconnections.prepare(url)
    await server.until(lambda: server.connections == 1)
    assert (
        said(
            await pool.call(Request(url, {}, None, PATIENCE_SECONDS, PATIENCE_SECONDS))
        )
        == ANSWER
    )


async def test_a_claimed_preconnection_ends_in_the_calls_time(pool, silent):
    """Until it is claimed curl has no time limit for it."""
    _, url = silent
    pool.preconnections.prepare(url)
    failure = await pool.call(Request(url, {}, None, 0.1, 0.1))
    assert isinstance(failure, FailureCause)
    assert failure.kind in ("timeout_connect", "timeout_tls")


class Hanging(SecureServer):
    """Answers no request."""

    async def _serve(self, reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            self._hear()


@pytest.mark.parametrize("server", [Hanging], indirect=True)
async def test_an_answer_on_a_preconnection_is_waited_for_until_the_deadline(
    pool, server, monkeypatch
):
    """Curl, which had no time limit when it began, would wait for ever. Then the handle
    is free for a call that waits.
    """
    monkeypatch.setattr(preconnections, "_LIFETIME_SECONDS", PATIENCE_SECONDS)
    for _ in range(HANDLES - 1):
        pool._handles.take(server.url)
    for seconds in EVER_LONGER:  # a handshake is to end within them
        pool.preconnections.prepare(server.url)
        await eventually(partial(withheld, pool))
        (begun,) = pool.preconnections.unclaimed.values()
        calls = [call(pool, server, seconds=seconds) for _ in range(2)]
        async with asyncio.timeout(PATIENCE_SECONDS + 2 * seconds):
            kinds = {failure.kind for failure in await asyncio.gather(*calls)}
        assert begun.expiry.cancelled()
        if kinds == {"timeout_first_byte"}:
            break
    assert kinds == {"timeout_first_byte"}


async def test_a_hello_that_is_withheld_wakes_nobody(server, monkeypatch):
    """It wakes the loop once, and not in every turn until the connection is claimed."""
    monkeypatch.setattr(preconnections, "_LIFETIME_SECONDS", PATIENCE_SECONDS)
    turns: list[int] = []

    class Counted(CurlPool):
        def _on_ready(self):
            turns.append(len(turns))
            super()._on_ready()

    pool = Counted(
        force_instance=True,
        max_clients=1,
        max_body_size=1000,
        ca_file=str(CERTIFICATE),
    )
    pool.preconnections.prepare(server.url)
    await eventually(partial(withheld, pool))
    turns.clear()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not turns
    pool.close()


async def test_a_call_on_a_preconnection_leaves_nothing_behind(pool, server):
    """A student's headers and answer go with it, not when its time would have ended."""
    pool.preconnections.prepare(server.url)
    transfer = call(pool, server)
    await transfer
    assert transfer.preconnected
    left = weakref.ref(transfer)
    del transfer
    await asyncio.sleep(0)  # the loop has what it calls in this turn
    gc.collect()
    assert left() is None


async def test_preconnections_take_no_calls_place(pool, server, silent):
    """A call that cannot use one, as a login, has the handle of the oldest."""
    _, url = silent
    with pool.preconnections.expect(url, HANDLES):
        # All that are expected, so far as there are handles.
        pool.preconnections.prepare(url)
        assert not pool._handles.has_free
        assert said(await call(pool, server, body=b"")) == ANSWER
        assert len(pool._curls) == HANDLES


async def test_nothing_is_opened_without_tls(pool, silent):
    """There it would save one round trip, and the platform is not spoken to so."""
    listening, url = silent
    url = url.replace("https:", "http:")
    pool.preconnections.prepare(url)
    with pool.preconnections.expect(url, 5):
        call = pool.call(Request(url, {}, None, PATIENCE_SECONDS, PATIENCE_SECONDS))
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listening)
        await loop.sock_sendall(connection, OK)
        assert said(await call) == ANSWER
    with pytest.raises(BlockingIOError):
        listening.accept()
    connection.close()
