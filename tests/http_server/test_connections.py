"""Connections that are slow, too many, or go on behind their last answer."""

import asyncio
import json
import socket

import pytest

from ..virtual_time import Clock
from ..waiting import PATIENCE_SECONDS, eventually
from .bad_input import HOST, POST
from .raw import exchange, status_of

pytestmark = pytest.mark.both_loops

LAST = b"GET /api/nowhere HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


class TestSlowness:
    """Clients that send slowly."""

    @pytest.fixture(name="listener_options")
    def _listener_options(self):
        """Slow connections are closed after two seconds."""
        return {"arrival_seconds": 2.0}

    @pytest.mark.gen_test
    async def test_half_sent_requests_are_closed(self, port, front):
        """300 of them are closed after the time-out; another client is served."""
        halves = [
            b"",
            b"GET /hea",
            b"GET /health HTTP/1.1\r\nHost: x\r\n",
            POST + b"Content-Length: 10\r\n\r\n{",
        ]
        writers = []
        readers = []
        for number in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(halves[number % len(halves)])
            readers.append(reader)
            writers.append(writer)
        assert (await front.ask("/health")).code == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            leftovers = await asyncio.gather(*(reader.read() for reader in readers))
        assert set(leftovers) == {b""}
        for writer in writers:
            writer.close()


class TestLastAnswer:
    """A client that sends on while its last answer is on its way."""

    @pytest.fixture(name="listener_options")
    def _listener_options(self):
        """No time passes: what a client waits for has to come."""
        return {"clock": Clock()}

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        ("front", "status"),
        [
            (b"(", 400),
            (POST + b"Content-Length: x\r\n\r\n", 400),
            (POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
            (b"GET /" + b"a" * 40_000, 414),
            (POST + b"Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n", 413),
            (POST + b"Content-Length: 70000\r\n\r\n{", 413),
            (POST + b"Transfer-Encoding: chunked\r\n\r\n10001\r\n{", 413),
            (LAST, 404),
            (LAST.replace(b"nowhere", b"quiz"), 401),
        ],
    )
    async def test_the_rest_may_still_be_sent(self, port, http_server, front, status):
        """To close at once would reset the connection, and the answer be lost."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(front)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert status_of(await reader.read()) == status
        assert http_server.connections == 1
        writer.write(b"a" * 70_000)
        writer.close()
        await eventually(lambda: not http_server.connections)

    @pytest.mark.gen_test
    async def test_the_rest_may_be_sent_before_the_answer_is_read(
        self, port, http_server
    ):
        """Many clients read nothing before they have sent all, however much it is."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LAST + b"a" * 10_000_000)
        await eventually(lambda: not writer.transport.get_write_buffer_size())
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert status_of(await reader.read()) == 404
        writer.close()
        await eventually(lambda: not http_server.connections)

    @pytest.mark.gen_test
    @pytest.mark.parametrize(
        "sent",
        [LAST, LAST.replace(b"nowhere", b"quiz"), b"GET / HTTP/1.1\r\nA\r\n\r\n"],
    )
    async def test_who_leaves_before_it_is_no_failure(
        self, port, http_server, access_lines, sent
    ):
        """There may be nothing left to close in stages."""
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(sent)
        client.close()
        await eventually(access_lines.told)
        await eventually(lambda: not http_server.connections)
        await asyncio.sleep(0)
        assert {line["level"] for line in access_lines.told()} == {"info"}


class TestCrowd:
    """More connections than the server takes."""

    @pytest.fixture(name="listener_options")
    def _listener_options(self):
        """20 connections, each of which has a moment for its request."""
        return {"max_connections": 20, "clock": Clock()}

    @pytest.mark.gen_test
    async def test_one_connection_too_many_is_told_so(self, port):
        """Past the cap a connection gets a 503 in JSON and is closed."""
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        await asyncio.sleep(0.05)
        answer = await exchange(port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        for _, writer in kept:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert status_of(answer) == 503
        assert b"Retry-After: 1" in head
        assert json.loads(body)["code"] == "overloaded"
