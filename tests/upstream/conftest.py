"""Mechanisms that are tested alone: their time, and a server for the curl pool."""

import pytest

from tests.virtual_time import Clock

from .scripted_server import ScriptedServer, make_pool


@pytest.fixture(name="clock")
def _clock():
    """It passes only when a test says so, instead of the running service's."""
    return Clock()


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
