"""Curl's sockets in the loop, by themselves: what is an event, how many in a turn."""

import asyncio
import socket
from contextlib import ExitStack

import pycurl
import pytest

from aims_server.upstream.transport.curl_sockets import CurlSockets

from ...virtual_time import Clock, VirtualLoop
from ...waiting import eventually


@pytest.mark.both_loops
@pytest.mark.gen_test
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


class Ready:
    """Curl's sockets, on twenty of which something has come."""

    def __init__(self, ending):
        self.clock = Clock()
        loop = VirtualLoop(self.clock)
        ending.callback(loop.close)
        self.sockets = CurlSockets(loop, bool, bool)
        ending.callback(self.sockets.close)
        self.fds = [self._readable(ending) for _ in range(20)]

    def _readable(self, ending):
        ours, theirs = map(ending.enter_context, socket.socketpair())
        theirs.send(b"an answer that is not read")
        self.sockets.watch(ours.fileno(), pycurl.POLL_IN)
        return ours.fileno()

    def turn(self, *, seconds):
        """The sockets that curl is told of in one turn, each of which takes so long."""
        told = []
        for some in self.sockets.ready():
            for fd, action in some:
                assert action == pycurl.CSELECT_IN
                told.append(fd)
                self.clock.now += seconds
        return told


@pytest.fixture(name="ready")
def _ready():
    with ExitStack() as ending:
        yield Ready(ending)


def test_a_turn_has_sixteen_sockets(ready):
    """What their answers lead to falls into one turn, too."""
    assert ready.turn(seconds=0.0) == ready.fds[:16]
    assert ready.turn(seconds=0.0)[:4] == ready.fds[16:]


def test_a_turn_ends_after_a_millisecond(ready):
    """However much curl reads of each: at most three more are told after it."""
    assert ready.turn(seconds=0.0005) == ready.fds[:4]
    assert ready.turn(seconds=0.0002) == ready.fds[4:12]


def test_one_that_curl_asks_for_while_it_is_paused_is_resumed_by_that(ready):
    """Curl does so when an alarm of its own has it look at the socket."""
    fd = ready.fds[0]
    ready.sockets.pause(fd)
    ready.sockets.watch(fd, pycurl.POLL_IN)
    ready.sockets.resume(fd)
    assert fd in {*ready.turn(seconds=0.0), *ready.turn(seconds=0.0)}


def test_every_socket_has_its_turn(ready):
    """Those that are always ready do not keep it from the others."""
    told = {fd for _ in range(5) for fd in ready.turn(seconds=0.001)}
    assert told == set(ready.fds)
