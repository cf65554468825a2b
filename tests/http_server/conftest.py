"""A listener that is tested alone, or with the service behind it."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from aims_server.http_server.listener import Listener

from .serving import Server


@pytest.fixture(name="server")
def _server(io_loop: IOLoop) -> Iterator[Server]:
    server = Server()
    yield server
    io_loop.run_sync(server.close)


@pytest.fixture(name="port")
def _port(http_server: Listener, http_port: int) -> int:
    """Where the service listens."""
    return http_port
