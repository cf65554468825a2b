"""Starts what is measured, each in processes of its own."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kernel import family, free_port
from .load import Request
from .probe import Held
from .standin import API, college

HERE = Path(__file__).parent
PATIENCE_SECONDS = 30.0
# Every feature on; the limits high enough that the load is served and not refused.
FEATURES = {
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "info",
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "1000000",
    "LOGIN_LIMIT_PER_MINUTE": "1000000",
    "LOGIN_FAILURES_PER_ADDRESS_PER_MINUTE": "1000000",
    "CACHE_TTL_SECONDS": "3600",
}


class Platform:
    """The stand-in for the platform, and tokens of its students."""

    def __init__(self, url: str, subjects: int, records: int | None) -> None:
        self._url = url
        self.base = url + API
        self.college = college(subjects, records)
        self._students = 0

    def newcomers(self, number: int) -> list[str]:
        """Tokens of so many students whom nobody has seen yet."""
        first, self._students = self._students, self._students + number
        tokens = range(first, self._students)
        return [self.college.token(self.college.student(n)) for n in tokens]

    def calls(self) -> int:
        """Calls since this was last asked."""
        told = json.loads(fetch(self._url, Request("/calls")))
        return int(told["calls"])


@contextlib.contextmanager
def platform(
    delay: float = 0.0,
    subjects: int = 15,
    records: int | None = None,
    *,
    faults: Mapping[str, Any] | None = None,
) -> Iterator[Platform]:
    """A platform that takes ``delay`` seconds a call, or has these ``faults``."""
    options = ["--subjects", str(subjects)]
    options += ["--faults", json.dumps(faults or {"delay": delay})]
    if records is not None:
        options += ["--records", str(records)]
    command = [sys.executable, "-m", "bench.standin", *options]
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            yield Platform(ready["url"], subjects, records)
        finally:
            process.kill()


@dataclass(frozen=True)
class Server:
    """A server that answers: where, the process its family descends from, and how long
    it took from its command to its first 200.
    """

    name: str
    url: str
    pid: int
    seconds: float

    def workers(self) -> list[int]:
        """The processes that descend from it, or itself alone."""
        return family(self.pid)[1:] or [self.pid]


@contextlib.contextmanager
def service(
    platform: Platform,
    workers: int = 1,
    *,
    fast: bool = True,
    held: Held | None = None,
    **variables: str,
) -> Iterator[Server]:
    """Our service; on asyncio's own loop if not ``fast``, timed if ``held``."""
    with tempfile.TemporaryDirectory() as directory:
        if not fast or held is not None:
            # The first directory that is looked into: an import of it fails.
            Path(directory, "uvloop.py").write_text("raise ImportError\n")
        environ = {
            "PATH": os.environ["PATH"],
            "TMPDIR": directory,  # it is killed, and could not clean up
            "WORKERS": str(workers),
            "EXTERNAL_API_BASE": platform.base,
            **FEATURES,
            **(held.variables if held else {}),
            **variables,
        }
        port = free_port()
        with _running(
            "ours" if fast else "ours, asyncio",
            ["-m", "aims_server"],
            port,
            cwd=directory,
            env={**environ, "PORT": str(port)},
        ) as server:
            # The first 200 may have come from the first worker alone.
            _until(lambda: len(family(server.pid)) > workers)
            yield server


@contextlib.contextmanager
def bare_tornado(platform: Platform, workers: int, *bodies: bytes) -> Iterator[Server]:
    """A handler that writes ready bytes: the n-th body under ``/n``."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        for number, body in enumerate(bodies):
            Path(directory, str(number)).write_bytes(body)
        options = [str(port), str(workers), directory]
        with _peer("bare Tornado", "bare_tornado", options, port, platform) as server:
            yield server


@contextlib.contextmanager
def fastapi(platform: Platform, workers: int) -> Iterator[Server]:
    """FastAPI, httpx and cachetools under uvicorn."""
    port = free_port()
    options = [str(port), str(workers)]
    with _peer("FastAPI", "fastapi_service", options, port, platform) as server:
        yield server


@contextlib.contextmanager
def aiohttp(platform: Platform, workers: int) -> Iterator[Server]:
    """The aiohttp library on both sides, and cachetools."""
    port = free_port()
    options = [str(port), str(workers)]
    with _peer("aiohttp", "aiohttp_service", options, port, platform) as server:
        yield server


@contextlib.contextmanager
def _peer(
    name: str, module: str, options: list[str], port: int, platform: Platform
) -> Iterator[Server]:
    with _running(
        name,
        ["-m", f"bench.peers.{module}", *options],
        port,
        cwd=str(HERE.parent),
        env={**os.environ, "EXTERNAL_API_BASE": platform.base},
    ) as server:
        yield server


@contextlib.contextmanager
def _running(
    name: str, arguments: list[str], port: int, *, cwd: str, env: dict[str, str]
) -> Iterator[Server]:
    """A Python program from its start; entered when /health gets its first 200."""
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if not _until(lambda: _healthy(url), process):
                log.seek(0)
                raise RuntimeError(f"{name} did not start:\n{log.read().decode()}")
            yield Server(name, url, process.pid, time.perf_counter() - began)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()


def _until(
    done: Callable[[], bool], process: "subprocess.Popen[bytes] | None" = None
) -> bool:
    """Wait for it; False if it takes too long, or the process has ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > end or (process and process.poll() is not None):
            return False
        time.sleep(0.001)
    return True


def wait_until_healthy(url: str) -> None:
    """Wait for the first 200 of /health; raises RuntimeError if it takes too long."""
    if not _until(lambda: _healthy(url)):
        raise RuntimeError(f"{url} does not answer")


def _healthy(url: str) -> bool:
    try:
        fetch(url, Request("/health"))
    except OSError:
        return False
    return True


def fetch(url: str, request: Request) -> bytes:
    """The body of one answer, on a connection of its own."""
    asked = urllib.request.Request(
        url + request.path, request.body, dict(request.headers)
    )
    with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
        body: bytes = answer.read()
    return body
