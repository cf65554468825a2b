"""A worker's drain, in this process: every accepted connection gets its answer."""

import asyncio
import socket

import pytest

from aims_server.process.worker import ExitMode, _drain


@pytest.mark.gen_test
async def test_connections_in_the_backlog_are_served(http_server, settings, worker):
    """Closing the listening socket would reset those that are not accepted yet."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=50)
    listening.setblocking(False)
    http_server.add_sockets([listening])
    clients = [socket.create_connection(listening.getsockname()) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        client.setblocking(False)
    # The event loop has not had a turn since: all of them are in the backlog.
    told: asyncio.Queue[ExitMode] = asyncio.Queue()
    told.put_nowait(ExitMode.STOP_NOW)
    await _drain(told, settings, http_server, worker)
    for client in clients:
        reader, writer = await asyncio.open_connection(sock=client)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


@pytest.mark.gen_test
async def test_a_connection_that_was_just_accepted_ends_with_its_answer(http_server):
    """It has no transport yet when the drain begins."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    http_server.add_sockets([listening])
    client = socket.create_connection(listening.getsockname())
    client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    client.setblocking(False)
    http_server.accept_backlog()
    http_server.disable_keep_alive()
    reader, writer = await asyncio.open_connection(sock=client)
    assert b"\r\nConnection: close\r\n" in await reader.read()
    writer.close()
