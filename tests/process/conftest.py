"""The real command as a fixture, and the simulated platform as a process beside it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

PATIENCE_SECONDS = 20.0


class Service:
    """``python -m aims_server`` in a directory of its own, logging into a file."""

    def __init__(self, directory: Path, variables: dict[str, str]) -> None:
        self.directory = directory
        self.log_path = directory / "service.log"
        environ = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR")
            or name.startswith("COVERAGE")
        }
        self._log: IO[bytes] = self.log_path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aims_server"],
            cwd=directory,
            env={**environ, "PORT": "0", "LOG_FORMAT": "json", **variables},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.url = ""

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
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit status; raises TimeoutExpired."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture(name="start")
def _start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services with given variables; all are ended after the test."""
    started: list[Service] = []

    def start(**variables: str) -> Service:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        service = Service(directory, variables)
        started.append(service)
        return service

    yield start
    for service in started:
        service.close()


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

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(name="platform")
def _platform() -> Iterator[Platform]:
    """A simulated platform that answers in 0.2 s."""
    platform = Platform("--delay", "0.2", "--students", "200")
    yield platform
    platform.close()
