"""The real command as a fixture, and the simulated platform as a process beside it."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

import aims_server

from ..children import environment, state
from ..waiting import PATIENCE_SECONDS, until

COMMAND = (sys.executable, "-m", "aims_server")


def shell(script: str, command: Sequence[str] = COMMAND) -> tuple[str, ...]:
    """The service, or another command, started by a shell that does something first."""
    return ("bash", "-c", f'{script} && exec "$@"', "", *command)


def hand_over(file: int) -> str:
    """For the shell: systemd's part. This file is number 3, and the process is told
    that it is meant.
    """
    return f"exec 3<&{file} && export LISTEN_PID=$$ LISTEN_FDS=1"


#: For the shell: the service runs on a copy of its program in its own directory.
COPY = shlex.join(("cp", "-r", str(Path(aims_server.__file__).parent), "aims_server"))

_BREAKABLE = """
import os, sys
from aims_server import cli
from aims_server.process import worker

def run(*arguments, run=worker.run):
    if os.path.exists("broken"):
        raise OSError("made up")
    run(*arguments)

worker.run = run
sys.exit(cli.main([]))
"""
#: The service, whose workers cannot start while there is a file "broken".
BREAKABLE = (sys.executable, "-c", _BREAKABLE)
_THREADLESS = """
import sys, threading
from aims_server import cli

def start(thread):
    raise RuntimeError("can't start new thread")

threading.Thread.start = start
sys.exit(cli.main([]))
"""
#: The service, whose workers the system refuses their threads.
THREADLESS = (sys.executable, "-c", _THREADLESS)


def children(pid: int) -> list[int]:
    """Process ids of a process's children, the oldest first. Each process is asked for
    its parent, since /proc/PID/task/PID/children passes over some while others end.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            _, parent, *rest = stat.read_text().rpartition(") ")[2].split()
            if int(parent) == pid:
                found.append((int(rest[17]), int(stat.parent.name)))  # when it started
    return [child for _, child in sorted(found)]


def stop(pid: int) -> None:
    """Have a process do nothing more, as it does once SIGSTOP has reached it."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T")


class Service:
    """``python -m aims_server`` in a directory of its own, logging into a file."""

    def __init__(
        self,
        directory: Path,
        variables: dict[str, str],
        command: Sequence[str] = COMMAND,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.directory = directory
        self.log_path = directory / "service.log"
        self._log: IO[bytes] = self.log_path.open("wb")
        self.process = self.popen(
            command,
            pass_fds=pass_fds,
            cwd=directory,
            env={**environment(), "PORT": "0", "LOG_FORMAT": "json", **variables},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.url = ""
        #: Whether faults of our own are part of the test, such as a full disk.
        self.may_fail = False

    def popen(
        self, command: Sequence[str], **options: Any
    ) -> "subprocess.Popen[bytes]":
        """Start the process."""
        return subprocess.Popen(command, **options)

    def wait_until_serving(self) -> "Service":
        """Wait for the line that names the address."""
        match = self.wait_for_log(r"Serving on ([\d.]+:\d+)")
        self.url = f"http://{match.group(1)}"
        return self

    def wait_for_log(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Wait until the log holds a match of `pattern` behind character `after`."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            match = re.compile(pattern).search(self.log, after)
            if match:
                return match
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.log}")

    @property
    def log(self) -> str:
        """All that was logged so far."""
        return self.log_path.read_text()

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        """Status and body of one GET on a connection of its own."""
        request = urllib.request.Request(self.url + path)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read()

    def workers(self) -> list[int]:
        """Process ids of the living workers."""
        return children(self.process.pid)

    def wait_for_workers(self, number: int, but: Sequence[int] = ()) -> list[int]:
        """Wait until there are so many workers and none of those named."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            workers = self.workers()
            if len(workers) == number and not set(workers) & set(but):
                return workers
            time.sleep(0.01)
        raise AssertionError(f"workers {self.workers()}:\n{self.log}")

    def open_files(self, pid: int) -> list[str]:
        """What a process of the service has open, as the kernel calls it."""
        names = []
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                names.append(os.readlink(entry))
        return names

    def client_ports(self, pid: int) -> set[int]:
        """The ports of the clients that a worker has accepted."""
        mine = {name[8:-1] for name in self.open_files(pid) if name[:7] == "socket:"}
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        rows = (row.split() for row in table)
        return {int(row[2][-4:], 16) for row in rows if row[9] in mine} - {0}

    def figures(self, start: str, token: str | None = None) -> list[float]:
        """The values of the series on /metrics that start so."""
        lines = self.get("/metrics", token)[1].decode().splitlines()
        return [float(line.split()[-1]) for line in lines if line.startswith(start)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit status; raises TimeoutExpired."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """End it and its workers, whatever they do: a stopped one too, and none asks
        the platform anything during the next test.
        """
        if self.process.poll() is None:
            for pid in (self.process.pid, *self.workers()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()


@pytest.fixture(name="start")
def _start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services with given variables; all are ended after the test."""
    started: list[Service] = []

    def start(
        command: Sequence[str] = COMMAND,
        pass_fds: Sequence[int] = (),
        **variables: str,
    ) -> Service:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        service = Service(directory, variables, command, pass_fds)
        started.append(service)
        return service

    yield start
    for service in started:
        service.close()
    logs = [service.log for service in started if not service.may_fail]
    # A worker told to leave that fails in the end is one line, and costs no request.
    for fault in ("Traceback", "ended badly (exit status"):
        assert not [log for log in logs if fault in log]


@pytest.fixture(name="unresolving")
def _unresolving(tmp_path: Path) -> Iterator[Sequence[str]]:
    """What a command starts with that is run where no name server answers."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("to be a name server takes port 53, and a mount")
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("this root, of a container, may not mount")
    resolver = "127.0.0.77"
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {resolver}\noptions timeout:30 attempts:5\n")
    mount = f"mount --bind {resolv_conf} /etc/resolv.conf"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        # Another test may be silent there at the same time.
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind((resolver, 53))
        yield ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "")


class Platform:
    """The simulated platform in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aims_server.demo", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url: str = ready["url"]
        self.control: str = ready["control"]
        self.credentials: list[dict[str, str]] = ready["credentials"]

    def turn(self, **wishes: Any) -> None:
        """Turn its knobs (see SimulatedPlatform.turn)."""
        request = urllib.request.Request(
            self.control, json.dumps(wishes).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()

    def counters(self) -> dict[str, Any]:
        """Its counters."""
        with urllib.request.urlopen(self.control, timeout=PATIENCE_SECONDS) as answer:
            counters: dict[str, Any] = json.load(answer)["counters"]
        return counters

    def wait_until_asked(self) -> None:
        """Wait until a call is under way."""
        until(lambda: self.counters()["inFlight"])

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="session", name="platform_process")
def _platform_process() -> Iterator[Platform]:
    platform = Platform("--students", "200")
    yield platform
    platform.close()


@pytest.fixture(name="platform")
def _platform(platform_process: Platform) -> Platform:
    """A simulated platform that answers in 0.2 s, and that nobody asks any more."""
    platform_process.turn(clear="*", release="*")
    until(lambda: not platform_process.counters()["inFlight"])
    platform_process.turn(faults={"*": {"delay": 0.2}})
    platform_process.turn(reset=True)
    return platform_process


@pytest.fixture(name="serve")
def _serve(start: Callable[..., Service], platform: Platform) -> Callable[..., Service]:
    """Start a service whose answers are kept and whose limits bother nobody."""

    def serve(workers: int, **variables: str) -> Service:
        service = start(
            **{
                "EXTERNAL_API_BASE": platform.url,
                "WORKERS": str(workers),
                "PREFETCH_ON_LOGIN": "false",
                "RATE_LIMIT_PER_MINUTE": "1000000",
                "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "1000000",
                "DRAIN_DELAY_SECONDS": "0.2",
                **variables,
            }
        )
        return service.wait_until_serving()

    return serve


@pytest.fixture(name="busy")
def _busy(serve: Callable[..., Service]) -> Callable[..., Service]:
    """Start services that ask the platform for every answer and limit nobody."""

    def busy(**variables: str) -> Service:
        return serve(
            2,
            **{
                "CACHE_TTL_SECONDS": "0",
                "CACHE_STALE_SECONDS": "0",
                "CACHE_REFRESH_FLOOR_SECONDS": "0",
                "DRAIN_DELAY_SECONDS": "2",  # enough for busy clients to notice
                **variables,
            },
        )

    return busy
