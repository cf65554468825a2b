"""A small file system of its own under the service: its log, its working directory and
TMPDIR lie there, and it is full or read-only (docs/reliability.rst P46, P47).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ..operations.programs import program
from ..waiting import PATIENCE_SECONDS, until
from .conftest import Platform, Service
from .crowd import Crowd, tokens
from .test_nothing_stops_it import flood

pytestmark = pytest.mark.process


class Disk:
    """A tmpfs of 8 MB: more than the workers' buffers of unwritten lines."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self._filling = at / "filling"
        mount("-t", "tmpfs", "-o", "size=8m", "none", str(at))

    def fill(self) -> None:
        """Leave no byte free."""
        with suppress(OSError), self._filling.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        """Take away what filled it."""
        self._filling.unlink()

    def make_read_only(self) -> None:
        """As the kernel does after an error of the disk."""
        mount("-o", "remount,ro", str(self.at))


def mount(*arguments: str) -> None:
    """Call mount(8), or skip the test."""
    done = subprocess.run(
        [program("mount"), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting needs root and its rights: {done.stderr.strip()}")


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Disk]:
    at = tmp_path / "disk"
    at.mkdir()
    disk = Disk(at)
    yield disk
    subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture(name="on")
def _on(platform: Platform, tmp_path: Path) -> Iterator:
    """Start a service that has its directory, and so its log, and TMPDIR there."""
    started: list[Service] = []

    def on(directory: Path, **variables: str) -> Service:
        given = {
            "EXTERNAL_API_BASE": platform.url,
            "WORKERS": "2",
            "DRAIN_DELAY_SECONDS": "0.5",
            "TMPDIR": str(directory),
            "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "1000000",
            "RATE_LIMIT_PER_MINUTE": "1000000",
            **variables,
        }
        started.append(Service(directory, given))
        return started[-1]

    yield on
    for service in started:
        service.close()


def goes_on(service: Service) -> None:
    """It serves, replaces a dead worker, takes a reload, and stops as told."""
    (victim, _) = service.workers()
    os.kill(victim, signal.SIGKILL)
    before = service.wait_for_workers(2, but=[victim])
    with Crowd(service.url, 4) as crowd:
        service.signal(signal.SIGHUP)
        until(lambda: not set(service.workers()) & set(before))
    assert crowd.losses == []
    assert set(crowd.statuses) == {200}
    service.wait_for_workers(2)


def test_a_disk_that_fills_costs_lines_and_nothing_else(disk, on):
    """The log has room again later, and says how many lines it lacks."""
    service = on(disk.at).wait_until_serving()
    disk.fill()
    goes_on(service)
    flood(service)
    until(lambda: sum(service.figures("aims_log_lines_lost_total")) > 0)
    disk.free()
    service.wait_for_log(r"[1-9]\d* log lines were lost")
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


def test_a_disk_that_is_full_at_the_start_hinders_nothing(disk, on):
    """It serves though no line of its log can be written; they come later."""
    disk.fill()
    service = on(disk.at)
    until(lambda: len(service.workers()) == 2)
    disk.free()
    service.wait_until_serving()
    goes_on(service)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


def test_a_disk_that_becomes_read_only_hinders_nothing(disk, on, tmp_path):
    """The working directory and TMPDIR are only read."""
    service = on(tmp_path, TMPDIR=str(disk.at)).wait_until_serving()
    disk.make_read_only()
    goes_on(service)
    (token,) = tokens(1)
    assert service.get("/api/all-attendance", token)[0] == 200
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


def test_files_into_a_full_disk_are_one_line(disk):
    """``aims-server files`` says which file it could not write."""
    disk.fill()
    done = subprocess.run(
        [sys.executable, "-m", "aims_server", "files", "out"],
        cwd=disk.at,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("aims-server: ")
    assert line.endswith("No space left on device")
