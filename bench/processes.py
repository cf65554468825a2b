"""Starting what is measured, each in processes of its own, and asking the kernel what
they cost.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aims_server.demo.college import College

PATIENCE_SECONDS = 30.0
# Every feature on; the limits high enough that the load is served and not refused.
FEATURES = {
    "PORT": "0",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "info",
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "1000000",
    "LOGIN_LIMIT_PER_MINUTE": "1000000",
    "CACHE_TTL_SECONDS": "3600",
}


class Platform:
    """The simulated platform; ``college`` is the same college, to make tokens of."""

    def __init__(self, url: str, control: str, college: College) -> None:
        self.url = url
        self._control = control
        self.college = college

    def token(self, number: int, serial: int = 0) -> str:
        """A token of the student of this number."""
        return self.college.token(self.college.student(number), serial=serial)

    def reset(self) -> None:
        """Set its counters back."""
        request = urllib.request.Request(
            self._control, b'{"reset": true}', method="PUT"
        )
        urllib.request.urlopen(request).close()

    def calls(self) -> int:
        """Calls since the last reset."""
        with urllib.request.urlopen(self._control) as answer:
            return sum(json.load(answer)["counters"]["calls"].values())


@contextlib.contextmanager
def platform(
    delay: float = 0.0, students: int = 3000, subjects: int = 15, records: int = 0
) -> Iterator[Platform]:
    """A platform that takes ``delay`` seconds a call."""
    options = ["--delay", str(delay), "--students", str(students)]
    options += ["--subjects", str(subjects)]
    if records:
        options += ["--records", str(records)]
    process = subprocess.Popen(
        [sys.executable, "-m", "aims_server.demo", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    college = College(students, subjects, records_per_subject=records or None)
    try:
        yield Platform(ready["url"], ready["control"], college)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def service(base: str, workers: int = 1, **variables: str) -> Iterator[tuple[str, int]]:
    """Our service: its address and its parent's process id."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "aims_server"],
                cwd=directory,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": os.getcwd(),
                    "EXTERNAL_API_BASE": base,
                    "WORKERS": str(workers),
                    **FEATURES,
                    **variables,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield _address(process, log), process.pid
        finally:
            process.kill()
            process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and process.poll() is None:
        match = re.search(r"Serving on ([\d.]+:\d+)", log.read_text())
        if match:
            return f"http://{match[1]}"
        time.sleep(0.002)
    raise RuntimeError(f"the service did not start:\n{log.read_text()}")


@contextlib.contextmanager
def peer(command: list[str], port: int, **variables: str) -> Iterator[str]:
    """Another server, started by its own command."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on {port}")


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def pss_megabytes(pid: int) -> float:
    """Proportional set size of a whole family: shared pages counted once."""
    total = 0
    for one in family(pid):
        rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)
        total += int(match[1]) if match else 0
    return total / 1024


def figures(url: str) -> dict[str, Any]:
    """The service's own figures."""
    request = urllib.request.Request(
        f"{url}/metrics", headers={"Accept": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        summary: dict[str, Any] = json.load(answer)
    return summary
