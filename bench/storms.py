"""What an operator, the kernel or a disk does to the service while students read, and
the requests that it costs.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import processes
from .kernel import family
from .load import percentile, run
from .processes import FEATURES, Platform, wait_until_healthy
from .report import Row, at_most
from .turns import Pace

CLIENTS = 20
SECONDS_A_ROUND = 10
CALL_SECONDS = 0.02
PATIENCE_SECONDS = 20.0
NOTHING_KEPT = {
    "CACHE_TTL_SECONDS": "0",
    "CACHE_STALE_SECONDS": "0",
    "CACHE_REFRESH_FLOOR_SECONDS": "0",
    "DRAIN_DELAY_SECONDS": "0.2",
}
# systemd's part: the socket is number 3, and the process is told that it is meant.
HAND_OVER = 'exec 3<&"$1"; shift; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'


class Service:
    """The command on a socket that we hold, as systemd does, so that it can be started
    again; its standard error is a file, ``/dev/full`` or a pipe that nobody reads.
    """

    def __init__(self, source: Platform, stderr: str) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address: tuple[str, int] = self._listening.getsockname()
        self._reader, self._stderr = os.pipe()
        if stderr != "pipe":
            os.close(self._stderr)
            path = self.directory / "log" if stderr == "file" else Path(stderr)
            self._stderr = os.open(path, os.O_WRONLY | os.O_CREAT)
        self._environ = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.directory),
            "WORKERS": "2",
            "EXTERNAL_API_BASE": source.base,
            **FEATURES,
            **NOTHING_KEPT,
        }
        self.start()
        wait_until_healthy("http://{}:{}".format(*self.address))

    def start(self) -> None:
        """Start it, and do not wait."""
        handed = str(self._listening.fileno())
        self.process = subprocess.Popen(
            [
                *("bash", "-c", HAND_OVER, "hand-over", handed),
                *(sys.executable, "-m", "aims_server"),
            ],
            cwd=self.directory,
            env=self._environ,
            pass_fds=[self._listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return family(self.process.pid)[1:]

    def close(self) -> None:
        """End it, and remove what it had."""
        self.process.kill()
        self.process.wait()
        self._listening.close()
        os.close(self._reader)
        os.close(self._stderr)
        shutil.rmtree(self.directory, ignore_errors=True)


Step = Callable[[Service], Awaitable[None]]


async def _nothing(_: Service) -> None:
    """No fault, or one that is there from the start."""


async def _remove(service: Service) -> None:
    """No working directory, none for temporary files; a reload is refused for it."""
    shutil.rmtree(service.directory, ignore_errors=True)
    service.process.send_signal(signal.SIGHUP)


async def _signal_all(service: Service) -> None:
    """The signals that mean nothing, to every process."""
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        for pid in family(service.process.pid):
            os.kill(pid, number)


async def _reload(service: Service) -> None:
    """Read the settings again, replace the workers."""
    service.process.send_signal(signal.SIGHUP)


async def _restart(service: Service) -> None:
    """A stop with SIGQUIT, and another start."""
    service.process.send_signal(signal.SIGQUIT)
    status = await asyncio.to_thread(service.process.wait, PATIENCE_SECONDS)
    if status:
        raise RuntimeError(f"SIGQUIT ended it with status {status}")
    service.start()


async def _kill(service: Service) -> None:
    """The death of a worker, as the kernel causes it when memory runs out."""
    for worker in service.workers()[:1]:
        os.kill(worker, signal.SIGKILL)


@dataclass(frozen=True)
class Storm:
    """A fault: its step, repeated after so many seconds, where standard error leads,
    and how many requests it may cost each time.
    """

    step: Step = _nothing
    every: float = 1.0
    stderr: str = "file"
    may_lose: int = 0


STORMS = {
    "nothing": Storm(),
    "stderr that nobody reads": Storm(stderr="pipe"),
    "stderr on a full disk": Storm(stderr="/dev/full"),
    "its directories removed, SIGHUP in vain, 1/s": Storm(_remove),
    "SIGUSR1, SIGUSR2, SIGALRM to all processes, 50/s": Storm(_signal_all, 0.02),
    "SIGHUP, 2/s": Storm(_reload, 0.5),
    "SIGQUIT and a start, 1/s": Storm(_restart),
    "SIGKILL to a worker, 1/s": Storm(_kill, may_lose=CLIENTS),
}


@dataclass
class Account:
    """What came of the clients' requests: seconds of the answers, and the losses."""

    seconds: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)


def storms(pace: Pace) -> Iterator[Row]:
    """20 clients on kept connections, each request a call of 20 ms to the platform (as
    nothing is kept), two workers, 30 s for each fault. *Lost* is a request that got
    no 200: refused, cut off, or answered with anything else. SIGQUIT stops the service;
    it is started again on the same socket, which systemd would hold. A killed worker
    takes along the requests that it has.
    """
    with processes.platform(CALL_SECONDS) as source:
        for fault, storm in STORMS.items():
            yield _weathered(source, fault, storm, pace.rounds * SECONDS_A_ROUND)


def _weathered(source: Platform, fault: str, storm: Storm, seconds: float) -> Row:
    service = Service(source, storm.stderr)
    try:
        account, times = run(_visit(service, storm, source.newcomers(CLIENTS), seconds))
    finally:
        service.close()
    lost = account.lost.total()
    kinds = ", ".join(f"{count} {kind}" for kind, count in account.lost.items())
    return Row(
        fault,
        f"{len(account.seconds) + lost} requests, {lost} lost"
        + (f" ({kinds})" if kinds else ""),
        f"p99 {1000 * percentile(account.seconds, 0.99):.0f} ms,"
        f" longest {1000 * max(account.seconds):.0f} ms",
        goal=at_most(storm.may_lose * times, lost, " lost"),
    )


async def _visit(
    service: Service, storm: Storm, tokens: list[str], seconds: float
) -> tuple[Account, int]:
    """The clients' account, and how often the step was done."""
    account = Account()
    end = time.monotonic() + seconds
    clients = [
        asyncio.create_task(_student(service.address, token, end, account))
        for token in tokens
    ]
    times = 0
    while time.monotonic() < end - storm.every:
        await asyncio.sleep(storm.every)
        await storm.step(service)
        times += 1
    await asyncio.gather(*clients)
    return account, times


async def _student(
    address: tuple[str, int], token: str, end: float, account: Account
) -> None:
    """Ask again and again, on one connection as long as it is kept."""
    request = (
        "GET /api/quiz HTTP/1.1\r\nHost: service\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection(*address)
        except OSError as failure:
            account.lost[type(failure).__name__] += 1
            await asyncio.sleep(0.02)
            continue
        kept = True
        while kept and time.monotonic() < end:
            began = time.monotonic()
            try:
                writer.write(request)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    status, kept = await _read_answer(reader)
            except (OSError, EOFError, TimeoutError) as failure:
                account.lost[type(failure).__name__] += 1
                break
            if status == b"200":
                account.seconds.append(time.monotonic() - began)
            else:
                account.lost[status.decode()] += 1
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """The status of a whole answer, and whether the connection is kept after it."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    return head.split(b" ", 2)[1], b"\r\nconnection: close\r\n" not in head
