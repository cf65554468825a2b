"""The conversations with systemd, over real sockets."""

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from aims_server.process.systemd import Notifier, inherited_sockets

from ..children import exit_status, fork
from ..waiting import PATIENCE_SECONDS


@pytest.fixture(name="systemd", params=["path", "abstract"])
def _systemd(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[socket.socket, str]]:
    """systemd's end, and how it is named in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(name.replace("@", "\0"))
        ours.settimeout(PATIENCE_SECONDS)
        yield ours, name


def test_each_state_is_one_message(systemd):
    """Ready, reloading and stopping, in systemd's words."""
    ours, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("Serving")
    notifier.reloading()
    notifier.stopping()
    said = [ours.recv(4096).decode() for _ in range(3)]
    assert said[0] == "READY=1\nSTATUS=Serving"
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[1-9]\d+\nSTATUS=.+", said[1])
    assert said[2].startswith("STOPPING=1\n")


@pytest.mark.parametrize(
    ("variables", "fed"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "20000000"}, True),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
    ],
)
def test_the_watchdog_is_fed_where_there_is_one(systemd, variables, fed):
    """Only when systemd watches, and watches this process."""
    ours, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name, **variables})
    notifier.alive()
    notifier.stopping()
    assert ours.recv(4096).startswith(b"WATCHDOG=1" if fed else b"STOPPING=1")


def test_a_systemd_that_hangs_holds_nobody(systemd):
    """Its queue is full sooner or later; the parent has workers to look after."""
    _, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000000"})
    for _ in range(2000):  # net.unix.max_dgram_qlen is 512 at most
        notifier.alive()


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_systemd_nothing_happens(variables):
    """Nobody to tell is no error, nor is somebody who has gone."""
    Notifier(variables).ready("Serving")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_what_is_meant_for_others_is_left_alone(variables):
    """Without sockets for this very process none is taken over."""
    assert inherited_sockets(variables) == []


def test_a_socket_that_is_taken_over_never_blocks():
    """systemd hands it over blocking; where another worker has accepted first, the loop
    would stand still. uvloop would mend that, asyncio's own loop does not.
    """

    def take_over() -> None:
        os.dup2(held.fileno(), 3)
        variables = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        (taken,) = inherited_sockets(variables)
        assert not os.get_blocking(taken.fileno())

    with socket.create_server(("127.0.0.1", 0)) as held:
        assert exit_status(fork(take_over)) == 0
