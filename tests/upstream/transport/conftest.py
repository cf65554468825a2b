"""A transport and a pool of curl handles, and servers: one of raw bytes, one that
answers by script, and the simulated platform.
"""

import pytest

from aims_server.demo.college import College
from aims_server.upstream.transport import Transport

from ...waiting import PATIENCE_SECONDS
from .raw_server import COURSE_FILES, RawServer
from .scripted_server import ScriptedServer, make_pool

pytestmark = pytest.mark.gen_test


@pytest.fixture(name="transport")
def _transport(io_loop):
    async def make():
        return Transport(20, "aims_server/test")

    transport = io_loop.run_sync(make)
    yield transport
    transport.close()


@pytest.fixture(name="raw")
def _raw(io_loop, transport):
    server = RawServer()
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.fixture(name="college")
def _college():
    return College(students=5)


@pytest.fixture(name="ask")
def _ask(transport, platform):
    """One GET of student 0's course files."""
    token = platform.college.token(platform.college.student(0))

    async def ask(seconds=PATIENCE_SECONDS, path=COURSE_FILES):
        return await transport.fetch(
            platform.base_url + path,
            headers={"Authorization": f"Bearer {token}"},
            seconds=seconds,
        )

    return ask


@pytest.fixture(name="log_in")
def _log_in(transport, platform):
    """One login with a wrong password."""

    async def log_in():
        return await transport.fetch(
            platform.base_url + "/admin/authenticate",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=b"username=a&password=b",
            seconds=PATIENCE_SECONDS,
        )

    return log_in


@pytest.fixture(name="get")
def _get(transport, raw):
    """What becomes of one GET when the server says these bytes."""

    async def get(says: bytes, seconds=PATIENCE_SECONDS):
        raw.says = says
        return await transport.fetch(raw.url, headers={}, seconds=seconds)

    return get


@pytest.fixture(name="server")
def _server(io_loop):
    server = ScriptedServer()
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.fixture(name="pool")
def _pool(io_loop, server):
    """A pool of one handle: every call has that of the call before."""
    pool = io_loop.run_sync(lambda: make_pool(1))
    yield pool
    pool.close()
