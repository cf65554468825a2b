"""Clients before the service, and what of its requests the fast path takes."""

import pytest

from .browser import Browser
from .raw import Connection
from .ways import Ways


@pytest.fixture(name="browser")
def _browser(io_loop, http_server, http_port, clock):
    clock.stop()  # so that equal answers are of equal age
    browser = io_loop.run_sync(lambda: Browser.open(http_port))
    yield browser
    browser.writer.close()


@pytest.fixture(name="connection")
def _connection(io_loop, http_server, http_port):
    connection = io_loop.run_sync(lambda: Connection.open(http_port))
    yield connection
    connection.close()


@pytest.fixture(name="ways")
def _ways(taken, worker, access_lines):
    return Ways(taken, worker, access_lines)


@pytest.fixture(name="taken")
def _taken(worker, monkeypatch):
    """The requests that the fast path has answered."""
    taken = []
    answer = worker.fast_path.answer

    def watched(request, peer, *, params):
        found = answer(request, peer, params=params)
        if found is not None:
            taken.append(request)
        return found

    monkeypatch.setattr(worker.fast_path, "answer", watched)
    return taken
