"""Mechanisms that are tested alone: their time, and a server for the curl pool."""

import pytest

from tests.virtual_time import Clock

from .far_side import Listener, make_pool


@pytest.fixture(name="clock")
def _clock():
    """It passes only when a test says so, instead of the running service's."""
    return Clock()


@pytest.fixture(name="far")
def _far(io_loop):
    far = Listener()
    io_loop.run_sync(far.start)
    yield far
    io_loop.run_sync(far.stop)


@pytest.fixture(name="pool")
def _pool(io_loop, far):
    """A pool of one handle: every call has that of the call before."""
    pool = io_loop.run_sync(lambda: make_pool(1))
    yield pool
    pool.close()
