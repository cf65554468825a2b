"""The client before a platform that speaks HTTP/2."""

import asyncio

import pytest

from ...waiting import PATIENCE_SECONDS
from ..transport.secure_server import CERTIFICATE, Http2Server
from .conftest import client_of

pytestmark = pytest.mark.gen_test


@pytest.fixture(name="platform")
def _platform(io_loop):
    platform = Http2Server()
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
