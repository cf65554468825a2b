"""What is done to the process from outside, and does not stop it (docs/reliability.rst
P46, P47, P51).
"""

import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ..upstream.transport.secure_server import CERTIFICATE
from ..waiting import PATIENCE_SECONDS, free_port, skip_without_ipv6, until
from .conftest import COMMAND, COPY, Service, children, shell
from .crowd import Crowd, tokens

pytestmark = pytest.mark.process

MEANINGLESS = (
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
    *(signal.SIGTTIN, signal.SIGTTOU),
)


_WAITING = """
import os, sys, time

def fork(fork=os.fork):
    pid = fork()
    while not pid and not os.path.exists("go"):
        time.sleep(0.01)
    return pid

os.fork = fork
from aims_server.__main__ import main
sys.exit(main())
"""
#: The service, whose workers start when there is a file "go".
WAITING = (sys.executable, "-c", _WAITING)


_REMOVABLE = """
import os, sys
from importlib.abc import MetaPathFinder

class Remover(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if os.path.exists(f"no {name}"):
            raise ImportError(f"no {name}")

sys.meta_path.insert(0, Remover())
from aims_server.__main__ import main
sys.exit(main())
"""
#: The service, for which a library is gone when there is a file of the name "no ...".
REMOVABLE = (sys.executable, "-c", _REMOVABLE)


class Mute(Service):
    """A service whose stderr is a pipe that nobody reads until told to."""

    def __init__(self, directory, variables, command=COMMAND):
        self.reader, self._writer = os.pipe()
        super().__init__(directory, variables, command)

    def popen(self, command, **options):
        """Start it with the pipe."""
        options["stderr"] = self._writer
        options["stdout"] = subprocess.DEVNULL
        process = super().popen(command, **options)
        os.close(self._writer)
        return process

    @property
    def log(self) -> str:
        """What the pipe has given so far."""
        os.set_blocking(self.reader, False)
        with suppress(BlockingIOError):
            while more := os.read(self.reader, 65536):
                with self.log_path.open("ab") as file:
                    file.write(more)
        return self.log_path.read_text()

    def close(self):
        """End it."""
        super().close()
        os.close(self.reader)


def flood(service: Service) -> None:
    """Have it write more lines than a pipe and the workers' buffers take."""
    host, port = service.url.removeprefix("http://").split(":")
    line = f"GET /nowhere/{'x' * 500} HTTP/1.1\r\nHost: x\r\n"
    requests = f"{line}\r\n" * 99 + f"{line}Connection: close\r\n\r\n"
    for _ in range(15):
        with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as client:
            client.sendall(requests.encode())
            with client.makefile("rb") as answers:
                assert answers.read().count(b"HTTP/1.1 404 ") == 100


def test_a_log_that_nobody_reads_costs_lines_and_nothing_else(tmp_path, platform):
    """Requests, replacements, reload and stop go on; the loss is told afterwards."""
    service = Mute(
        tmp_path,
        {
            "WORKERS": "2",
            "EXTERNAL_API_BASE": platform.url,
            "DRAIN_DELAY_SECONDS": "0",
            "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": "1000000",
        },
    )
    try:
        service.wait_until_serving()
        flood(service)
        until(lambda: service.figures("aims_log_lines_lost_total") > [0])
        (victim, _) = service.workers()
        os.kill(victim, signal.SIGKILL)
        service.wait_for_workers(2, but=[victim])
        before = service.workers()
        service.signal(signal.SIGHUP)
        until(lambda: not set(service.workers()) & set(before))
        service.wait_for_workers(2)
        flood(service)
        service.wait_for_log(r"[1-9]\d* log lines were lost")
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    finally:
        service.close()


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_streams_may_be_closed_or_full(start, closed):
    """No file of the service ever gets the number of a standard stream."""
    port = free_port()
    service = start(
        command=shell(f"exec {closed}"),
        PORT=str(port),
        WORKERS="1",
    )
    service.url = f"http://127.0.0.1:{port}"
    until(lambda: answers(service))
    (worker,) = service.workers()
    for pid in (service.process.pid, worker):
        streams = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
        assert not [name for name in streams if name.startswith("socket:")]
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


def test_signals_of_every_kind_cost_no_request(busy):
    """A storm of those that mean nothing, reloads among them, with 20 clients."""
    service = busy(WORKERS="2")
    with Crowd(service.url, 20) as crowd:
        for round_ in range(40):
            for number in MEANINGLESS:
                service.signal(number)
                with suppress(ProcessLookupError, IndexError):
                    os.kill(service.workers()[0], number)
            if round_ % 10 == 0:
                service.signal(signal.SIGHUP)
            time.sleep(0.05)
    assert crowd.losses == []
    assert set(crowd.statuses) == {200}
    service.signal(signal.SIGQUIT)
    assert service.wait() == 0


def test_its_directories_may_be_removed(busy, tmp_path):
    """The working directory and TMPDIR: a reload is refused, a dead worker replaced."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    service = busy(TMPDIR=str(temporary))
    temporary.rmdir()
    service.log_path.rename(tmp_path / "service.log")
    service.log_path = tmp_path / "service.log"
    service.directory.rmdir()
    with Crowd(service.url, 20) as crowd:
        service.signal(signal.SIGHUP)
        service.wait_for_log("Settings not changed: the working directory")
    assert crowd.losses == []
    assert set(crowd.statuses) == {200}
    (victim, _) = service.workers()
    os.kill(victim, signal.SIGKILL)
    service.wait_for_workers(2, but=[victim])
    assert service.get("/health")[0] == 200


def test_its_program_may_be_removed(start):
    """Workers that start later still have all modules and served files of the start."""
    service = start(
        command=shell(COPY),
        WORKERS="2",
        WEB_PAGE="true",
        STATUS_PAGE="true",
    ).wait_until_serving()
    shutil.rmtree(service.directory / "aims_server")
    (victim, _) = service.workers()
    os.kill(victim, signal.SIGKILL)
    service.wait_for_workers(2, but=[victim])
    for path in ("/", "/status", "/status/status.js", "/openapi.json", "/metrics"):
        assert {service.get(path)[0] for _ in range(20)} == {200}, path
    (style,) = re.findall(rb"page/[0-9a-f]+/style.css", service.get("/")[1])
    assert {service.get(f"/{style.decode()}")[0] for _ in range(20)} == {200}


@pytest.mark.parametrize("library", ["dotenv", "difflib"])
def test_its_libraries_may_be_removed(start, library):
    """A reload that needs one for the first time is refused: to read a file, or to say
    which variable a name in it is like.
    """
    service = start(command=REMOVABLE, WORKERS="1").wait_until_serving()
    (service.directory / f"no {library}").touch()
    (service.directory / ".env").write_text("LOG_LEVLE=debug")
    service.signal(signal.SIGHUP)
    service.wait_for_log(f"Settings not changed: .*no {library}")
    assert service.get("/health")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGHUP, *MEANINGLESS])
def test_a_signal_before_it_serves_does_nothing(start, number):
    """The service starts as if none had come."""
    service = start(command=WAITING, WORKERS="1")
    until(partial(started, service, service.process.pid))
    service.signal(number)
    until(service.workers)
    for _ in range(3):
        service.signal(number)
        time.sleep(0.02)
    (service.directory / "go").touch()
    service.wait_until_serving()
    assert "Replacing" not in service.log


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_told_to_end_before_it_serves_it_does(start, number, forked):
    """Status 0, whatever it was doing, and without a delay for balancers."""
    service = start(command=WAITING, WORKERS="1", DRAIN_DELAY_SECONDS="300")
    until(partial(started, service, service.process.pid))
    if forked:
        until(service.workers)
    service.signal(number)
    (service.directory / "go").touch()
    assert service.wait() == 0


def test_it_ends_as_process_1_too(start):
    """The kernel keeps default actions from process 1; ours are none of those."""
    as_process_1 = ("unshare", "--pid", "--fork", "--kill-child")
    done = subprocess.run([*as_process_1, "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a namespace of processes needs root's rights: {done.stderr!r}")
    for delay in (0.05, 0.1, 0.2):
        service = start(
            command=[*as_process_1, *COMMAND],
            DRAIN_DELAY_SECONDS="0",
            WORKERS="1",
        )
        until(service.workers)
        (first,) = service.workers()
        until(partial(started, service, first))
        time.sleep(delay)
        os.kill(first, signal.SIGTERM)
        assert service.wait() == 0


def test_both_families_of_addresses_can_be_had(start):
    """HOST is a list; an IPv6 address is shown as one that works."""
    skip_without_ipv6()
    service = start(HOST="127.0.0.1,::1", WORKERS="1")
    match = service.wait_for_log(r"Serving on 127\.0\.0\.1:(\d+), \[::1\]:(\d+)")
    assert match[1] == match[2]
    for host in ("127.0.0.1", "[::1]"):
        service.url = f"http://{host}:{match[1]}"
        assert service.get("/health")[0] == 200


def test_files_are_enough_for_what_is_promised(start, platform):
    """With the fewest files that it starts with, all clients are served and all calls
    made; one file less, and it does not start.
    """
    variables = {
        "EXTERNAL_API_BASE": platform.url,
        "MAX_CONCURRENT_REQUESTS": "24",
        "REQUEST_TIMEOUT_SECONDS": "60",
        "GATHER_TIMEOUT_SECONDS": "60",
        "WORKERS": "1",
    }
    refused = start(command=limited_to(127), **variables)
    assert refused.wait() == 78
    needed = int(re.findall(r"and (\d+) are needed", refused.log)[0])
    service = start(command=limited_to(needed), **variables).wait_until_serving()
    with ThreadPoolExecutor(16) as pool:  # each page needs 16 calls
        asked = [
            pool.submit(service.get, "/api/all-attendance", token)
            for token in tokens(16)
        ]
    assert {answer.result()[0] for answer in asked} == {200}
    failed = re.findall("failed on|circuit|cannot be accepted", service.log)
    assert not failed


def test_a_reload_needs_files_as_a_start_does(start):
    """A limit that leaves few connections is a warning with what it means; more calls
    than there are files for are refused, and nothing changes.
    """
    service = start(command=limited_to(300), WORKERS="1").wait_until_serving()
    assert "each worker serves at most 36 connections at once" in service.log
    (service.directory / ".env").write_text("MAX_CONCURRENT_REQUESTS=200\n")
    before = service.workers()
    service.signal(signal.SIGHUP)
    service.wait_for_log("Settings not changed: open files are limited to 300, and 480")
    assert service.workers() == before


def test_a_client_too_many_is_told_and_counted(start):
    """The log says which bound it has met, and the metrics how many have."""
    service = start(command=limited_to(300), WORKERS="1").wait_until_serving()
    address = "127.0.0.1", int(service.url.rpartition(":")[2])
    with ExitStack() as stack:
        first, *_ = [
            stack.enter_context(socket.create_connection(address, PATIENCE_SECONDS))
            for _ in range(36 + 1)
        ]
        service.wait_for_log("was refused: all 36 that a worker has files for are open")
        ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        first.sendall(ask)
        answer = stack.enter_context(first.makefile("rb")).read()
    assert b'aims_limited_requests_total{kind="connections"} 1.0\n' in answer


def test_files_that_run_out_for_a_while_stop_nothing(start, platform):
    """It is told once, however long it lasts, and everything goes on afterwards."""
    service = start(
        EXTERNAL_API_BASE=platform.url, WORKERS="1", CACHE_SHARED_MB="0"
    ).wait_until_serving()
    (worker,) = service.workers()
    before, after = tokens(2)
    assert service.get("/api/quiz", before)[0] == 200  # it has begun all its work
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, limits[1]))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.get, "/health")
        service.wait_for_log("cannot be accepted")
        time.sleep(1.5)  # in which a worker takes stock at least once
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
        assert waiting.result()[0] == 200
    assert service.log.count("cannot be accepted") == 1
    assert service.get("/api/quiz", after)[0] == 200
    until(lambda: service.figures("aims_cache_entries") == [2])


def limited_to(files: int) -> tuple[str, ...]:
    """The command, with so many open files allowed to each process."""
    return shell(f"ulimit -n {files}")


def started(service: Service, pid: int) -> bool:
    """Whether that process of it has come to its first line, which holds signals back,
    or further.
    """
    return holds_signals(pid) or children(pid) != []


def holds_signals(pid: int) -> bool:
    """Whether a process holds SIGHUP back, as nobody else does."""
    with suppress(OSError):
        match = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
        return match is not None and int(match[1], 16) & 1 << signal.SIGHUP - 1 != 0
    return False


def answers(service: Service) -> bool:
    """Whether /health is 200."""
    try:
        return service.get("/health")[0] == 200
    except OSError:
        return False


class Refusing(BaseHTTPRequestHandler):
    """A platform that accepts no token."""

    def do_GET(self):
        """Answer with 401."""
        self.send_response(401)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(name="secure_platform")
def _secure_platform():
    """The address of a platform that refuses every token, by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever).start()
        yield f"https://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_its_certificates_may_be_removed(start, secure_platform, tmp_path):
    """A worker that is started later trusts what was read with the settings."""
    certificates = tmp_path / "authorities.pem"
    certificates.write_bytes(CERTIFICATE.read_bytes())
    service = start(
        WORKERS="1",
        EXTERNAL_API_BASE=secure_platform,
        EXTERNAL_API_CA_FILE=str(certificates),
    )
    service.wait_until_serving()
    certificates.unlink()
    service.signal(signal.SIGHUP)
    service.wait_for_log("Settings not changed: EXTERNAL_API_CA_FILE")
    (victim,) = service.workers()
    os.kill(victim, signal.SIGKILL)
    service.wait_for_workers(1, but=[victim])
    (token,) = tokens(1)
    assert service.get("/api/quiz", token)[0] == 401
