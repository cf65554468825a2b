"""Which kept connection a socket stands for."""

import os
import socket

from aims_server.upstream.transport.kept_connections import (
    CONNECTION_SECONDS,
    KeptConnections,
    is_silent,
)


def test_a_number_that_comes_back_is_the_new_connections():
    """Curl tells of no closed socket: the old connection must not be judged by it."""
    kept = KeptConnections()
    kept.add("old", 5, multiplexed=False)
    kept.add("new", 5, multiplexed=False)
    assert (kept.socket_of("old"), kept.socket_of("new")) == (None, 5)
    assert len(kept) == 1


def test_a_port_that_comes_back_on_another_number_stays_known():
    """What is on its connection is looked at before a call goes out."""
    kept = KeptConnections()
    kept.add("port", 5, multiplexed=False)
    kept.add("port", 6, multiplexed=False)
    kept.add("other", 5, multiplexed=False)
    assert (kept.socket_of("port"), kept.socket_of("other")) == (6, 5)


def test_a_port_that_comes_back_is_new():
    """Nothing of the connection that had it holds for the next one."""
    kept = KeptConnections()
    kept.add("port", 5, multiplexed=False)
    kept.abandon("port")
    kept.open("port", 6)
    assert kept.socket_of("port") is None


class _Counted:
    """A connection that counts how often any is compared with another."""

    compared = 0

    def __init__(self, name):
        self._name = name

    def __hash__(self):
        return hash(self._name)

    def __eq__(self, other):
        _Counted.compared += 1
        return self is other


def test_a_new_connection_is_compared_with_no_other():
    """Each login has one, perhaps beside a hundred kept ones."""
    kept = KeptConnections()
    for fd in range(100):
        kept.add(_Counted(fd), fd, multiplexed=False)
    _Counted.compared = 0
    kept.add(_Counted("new"), 100, multiplexed=False)
    assert _Counted.compared < 10


def test_an_abandoned_one_passes_no_check():
    """Curl may still try it; it is neither silent nor counted."""
    reading, writing = os.pipe()
    kept = KeptConnections()
    kept.add("a", reading, multiplexed=False)
    assert is_silent(reading)
    kept.abandon("a")
    fd = kept.socket_of("a")
    assert fd is not None
    assert not is_silent(fd)
    assert len(kept) == 0
    os.close(reading)
    os.close(writing)


def test_an_old_one_is_not_counted(clock):
    """Curl will not use it: those that a page lacks are opened in time."""
    kept = KeptConnections(clock)
    kept.add("a", 5, multiplexed=False)
    clock.now += CONNECTION_SECONDS
    kept.add("b", 6, multiplexed=False)
    assert len(kept) == 1
    kept.add("c", 5, multiplexed=False)  # on the number of the old one, closed since
    assert len(kept) == 2


def test_http2_is_known_by_its_connection():
    """Whether the server speaks HTTP/2 is known from the first answer on."""
    kept, told = KeptConnections(), []
    told.append(kept.multiplexed)
    for name, multiplexed in (("a", False), ("b", True)):
        kept.add(name, 5, multiplexed=multiplexed)
        told.append(kept.multiplexed)
    assert told == [None, False, True]
    kept.abandon("b")
    assert kept.multiplexed


def test_a_number_that_is_anothers_by_now_is_not_closed():
    """Curl tells of no closed socket; the ports at both ends tell whose it is."""
    kept = KeptConnections()
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as ours,
        listening.accept()[0] as theirs,
    ):
        far, near = ours.getpeername()[1], ours.getsockname()[1]
        for port in (near + 1, near):
            kept.open(("", "", far, port), ours.fileno())
            kept.close_silent(("", "", far, port), 0.0)
            assert (kept.socket_of(("", "", far, port)) is None) == (port != near)
            if port != near:
                ours.send(b"still open")
        assert theirs.recv(100, socket.MSG_WAITALL) == b"still open"
