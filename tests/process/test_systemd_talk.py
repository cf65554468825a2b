"""What the real command tells systemd, over a datagram socket as systemd has it."""

import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..waiting import PATIENCE_SECONDS
from .conftest import BREAKABLE, stop

pytestmark = pytest.mark.process


class Systemd:
    """systemd's end of the conversation."""

    def __init__(self, ours: socket.socket, name: str) -> None:
        self._ours = ours
        self.variables = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000000"}

    def next_but(self, skipped: str = "WATCHDOG=1") -> str:
        """The next message that is another one."""
        while (message := self._ours.recv(4096).decode()) == skipped:
            pass
        return message

    def drain(self) -> list[str]:
        """All that was said and not yet heard."""
        self._ours.setblocking(False)
        messages = []
        try:
            while True:
                messages.append(self._ours.recv(4096).decode())
        except BlockingIOError:
            self._ours.settimeout(PATIENCE_SECONDS)
        return messages


@pytest.fixture(name="systemd")
def _systemd(tmp_path: Path) -> Iterator[Systemd]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(tmp_path / "notify"))
        ours.settimeout(PATIENCE_SECONDS)
        yield Systemd(ours, str(tmp_path / "notify"))


def test_it_tells_each_state_once(start, systemd):
    """Ready when all workers serve, reloading until they do again, stopping."""
    service = start(WORKERS="2", DRAIN_DELAY_SECONDS="0", **systemd.variables)
    assert systemd.next_but() == "READY=1\nSTATUS=Serving with 2 workers"
    assert len(service.wait_until_serving().workers()) == 2
    service.signal(signal.SIGHUP)
    assert systemd.next_but().startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert systemd.next_but() == "READY=1\nSTATUS=Serving with 2 workers"
    (service.directory / ".env").write_text("CACHE_MAX_MB=x")
    service.signal(signal.SIGHUP)
    assert systemd.next_but().startswith("RELOADING=1\n")
    assert systemd.next_but() == "READY=1\nSTATUS=Serving; the settings are wrong"
    service.signal(signal.SIGTERM)
    assert systemd.next_but().startswith("STOPPING=1\n")
    assert service.wait() == 0
    assert set(systemd.drain()) <= {"WATCHDOG=1"}


def test_it_is_ready_with_workers_missing_too(start, systemd):
    """A reload that cannot be finished is over for systemd, which would wait for it."""
    service = start(command=BREAKABLE, WORKERS="2", **systemd.variables)
    service.may_fail = True
    service.wait_until_serving()
    assert systemd.next_but().startswith("READY=1\n")
    (service.directory / "broken").touch()
    os.kill(service.workers()[0], signal.SIGKILL)
    told = "READY=1\nSTATUS=Serving, but new workers cannot be started"
    assert systemd.next_but() == told


def test_the_watchdog_starves_with_the_parent(start, systemd):
    """It is fed while the parent watches its workers, and not by a parent that hangs.

    A hung worker is no case for systemd: the parent replaces it, and the others serve.
    """
    service = start(WORKERS="1", **systemd.variables).wait_until_serving()
    assert systemd.next_but().startswith("READY=1\n")
    for _ in range(2):
        assert systemd.next_but("") == "WATCHDOG=1"
    stop(service.process.pid)
    systemd.drain()
    time.sleep(1.0)
    assert systemd.drain() == []
    service.signal(signal.SIGCONT)
    assert service.get("/health")[0] == 200


def test_the_watchdog_is_fed_without_files(start, systemd):
    """The system may have none left for a while: that is no end of the parent."""
    service = start(WORKERS="1", **systemd.variables).wait_until_serving()
    assert systemd.next_but().startswith("READY=1\n")
    limits = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    systemd.drain()
    for _ in range(3):
        assert systemd.next_but("") == "WATCHDOG=1"
    assert service.get("/health")[0] == 200
