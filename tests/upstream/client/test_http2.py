"""The client before a platform that speaks HTTP/2."""

import asyncio

import pytest

from aims_server.errors import UpstreamTimeout
from aims_server.upstream.transport import curl_pool

from ...waiting import PATIENCE_SECONDS
from ..transport.secure_server import CERTIFICATE, Http2Server, SecureServer
from .conftest import client_of

pytestmark = pytest.mark.gen_test

#: Of a call that is to be sent and no more: a handshake may take a busy machine long.
TO_CONNECT_SECONDS = 3.0


@pytest.fixture(name="platform")
def _platform(io_loop, request):
    platform = getattr(request, "param", Http2Server)()
    io_loop.run_sync(platform.start)
    yield platform
    io_loop.run_sync(platform.stop)


@pytest.fixture(name="client")
def _client(io_loop, platform, clock):
    async def make():
        url, authorities = platform.url.rstrip("/"), CERTIFICATE.read_bytes()
        return await client_of(url, authorities=authorities, clock=clock)

    client = io_loop.run_sync(make)
    yield client
    io_loop.run_sync(client.close)


async def test_a_late_call_is_hedged_on_another_connection(student, platform, clock):
    """All calls share one; where that hangs, a call made beside them would as well."""
    for _ in range(3):
        await student.quizzes(PATIENCE_SECONDS)
    assert platform.connections == 1
    platform.hangs_on = 4
    late = asyncio.create_task(student.quizzes(PATIENCE_SECONDS))
    await platform.until(lambda: platform.heard == platform.hangs_on)
    clock.now += 1
    await late
    assert (platform.connections, platform.heard) == (2, 5)


async def fall_silent(platform):
    """Let the connections that there are hang, for longer than it takes to tell."""
    platform.silent = platform.connections
    await asyncio.sleep(0.1)


async def test_a_connection_that_hangs_costs_one_call(student, platform, clock):
    """Its call is answered on another one, which later calls use."""
    for _ in range(3):
        await student.quizzes(PATIENCE_SECONDS)
    await fall_silent(platform)
    late = asyncio.create_task(student.quizzes(PATIENCE_SECONDS))
    await platform.until(lambda: platform.heard == 4)
    clock.now += 1
    await late
    for _ in range(3):  # of which none is late
        await student.quizzes(PATIENCE_SECONDS)
    assert platform.heard == 8


@pytest.mark.parametrize("platform", [SecureServer], indirect=True)
async def test_with_http_1_1_a_late_call_is_hedged_on_a_new_connection(
    student, platform, clock
):
    """Other kept ones may hang, too: a proxy on the way may have lost them all."""
    await asyncio.gather(*(student.quizzes(PATIENCE_SECONDS) for _ in range(3)))
    await fall_silent(platform)
    late = asyncio.create_task(student.quizzes(PATIENCE_SECONDS))
    await platform.until(lambda: platform.heard == 4)
    clock.now += 1
    await late
    assert (platform.connections, platform.heard) == (platform.silent + 1, 5)


async def test_a_connection_that_hangs_is_closed_to_the_others_on_it(
    student, platform, clock
):
    """It is closed once one of its calls has been answered on another one."""
    for _ in range(3):
        await student.quizzes(PATIENCE_SECONDS)
    await fall_silent(platform)
    late = asyncio.create_task(student.quizzes(PATIENCE_SECONDS))
    await platform.until(lambda: platform.heard == 4)
    clock.now += 1
    in_time = asyncio.create_task(student.quizzes(PATIENCE_SECONDS))
    await asyncio.gather(late, in_time)


async def test_a_connection_that_hangs_from_the_first_costs_one_call(student, platform):
    """A connection that hangs from its first call on costs only that call."""
    platform.silent = 1
    assert (
        type(await student.fault(student.quizzes, seconds=TO_CONNECT_SECONDS))
        is UpstreamTimeout
    )
    await student.quizzes(PATIENCE_SECONDS)
    assert platform.connections == 2


@pytest.mark.parametrize("answered", [0, 1])
async def test_a_connection_that_hung_is_followed_by_one(
    client, student, platform, answered
):
    """A page's calls share it, as they would have shared the one that was closed."""
    for _ in range(answered):
        await student.quizzes(PATIENCE_SECONDS)
    platform.silent = 1
    await asyncio.sleep(0.1)
    await student.fault(student.quizzes, seconds=TO_CONNECT_SECONDS)
    with client.expect_cards(15):
        await student.quizzes(PATIENCE_SECONDS)
    await asyncio.gather(*(student.quizzes(PATIENCE_SECONDS) for _ in range(5)))
    assert platform.connections == 2


async def test_a_connection_that_hangs_for_long_is_closed_to_all(
    student, platform, monkeypatch
):
    """The other calls on it are made again on another one."""
    monkeypatch.setattr(curl_pool, "_DEAD_SECONDS", 0.5)
    await student.quizzes(PATIENCE_SECONDS)
    await fall_silent(platform)
    waiting = asyncio.create_task(student.quizzes(PATIENCE_SECONDS))
    await platform.until(lambda: platform.heard == 2)
    assert type(await student.fault(student.quizzes, seconds=1.0)) is UpstreamTimeout
    await waiting
    assert platform.connections == 2


async def test_a_call_that_gives_way_leaves_the_others_on_its_connection(
    student, platform, clock
):
    """While none is answered, the platform may be slow to all."""
    await student.quizzes(PATIENCE_SECONDS)
    await fall_silent(platform)
    calls = [asyncio.create_task(student.quizzes(PATIENCE_SECONDS)) for _ in range(20)]
    await platform.until(lambda: platform.heard == 21)
    clock.now += 11
    calls.append(asyncio.create_task(student.quizzes(PATIENCE_SECONDS)))
    await platform.until(lambda: platform.heard >= 22)
    await asyncio.sleep(0.1)
    assert (platform.connections, platform.heard) == (1, 22)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_stream_that_is_reset_costs_one_connection(student, platform):
    """The call is made again on a new one; those that follow need no further one, for
    the old one serves them as well.
    """
    await student.quizzes(PATIENCE_SECONDS)
    platform.resets_on = 2
    for _ in range(4):
        await student.quizzes(PATIENCE_SECONDS)
    assert (platform.connections, platform.heard) == (2, 6)


async def test_a_connection_closed_before_the_answer_is_worth_another_try(
    student, platform
):
    """It is retried, as with HTTP/1.1: a proxy may have been restarted."""
    platform.closes_on = 1
    await student.quizzes(PATIENCE_SECONDS)
    assert (platform.connections, platform.heard) == (2, 2)
