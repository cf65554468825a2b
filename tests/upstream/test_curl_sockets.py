"""Curl's sockets in the loop, by themselves."""

import asyncio
import socket

import pycurl
import pytest

from aims_server.upstream.curl_sockets import CurlSockets

from ..waiting import eventually

pytestmark = [pytest.mark.both_loops, pytest.mark.gen_test]


async def test_that_an_idle_one_can_be_written_to_is_no_event():
    """An answer that comes as soon as its request is sent leaves a connection that curl
    last wanted to write to: it stays one to count on, until something comes on it.
    """
    ours, theirs = socket.socketpair()
    told: list[int] = []

    def ready() -> list[tuple[int, int]]:
        return [event for few in sockets.ready() for event in few]

    with ours, theirs:
        sockets = CurlSockets(asyncio.get_running_loop(), ready, told.append)
        sockets.watch(ours.fileno(), pycurl.POLL_OUT)
        sockets.watch(ours.fileno(), pycurl.POLL_REMOVE)
        assert ready() == []
        assert told == []
        theirs.close()
        await eventually(lambda: told == [ours.fileno()])
        sockets.close()
