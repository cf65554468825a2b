"""A listener that is tested alone."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from .serving import Server


@pytest.fixture(name="server")
def _server(io_loop: IOLoop) -> Iterator[Server]:
    server = Server()
    yield server
    io_loop.run_sync(server.close)
