"""What may go wrong, provoked one by one on the real command, and the first line of the
log that tells it.

`python -m tests.process.faults` writes docs/faults-and-logs.rst out of what was
printed; test_faults.py compares the two.
"""

import json
import os
import re
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from aims_server.demo.college import College

from ..waiting import PATIENCE_SECONDS, free_port, until
from .conftest import BREAKABLE, COMMAND, Platform, Service

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults-and-logs.rst"
SELF_SIGNED = ROOT / "tests" / "upstream" / "tls" / "self_signed.pem"
COLLEGE = College(students=2000)
SOON_HUNG = """
import sys
from aims_server import cli
from aims_server.process import rollout
rollout.HUNG_SECONDS = 0.6
sys.exit(cli.main([]))
"""


class Told(NamedTuple):
    """A fault, and the line that told it."""

    group: str
    fault: str
    level: str
    line: str


class Bench:
    """Starts services, and ends them all."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._college_tokens = (
            COLLEGE.token(COLLEGE.student(n)) for n in range(COLLEGE.students)
        )
        self.platform = Platform("--students", str(COLLEGE.students))
        stack.callback(self.platform.close)
        self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def token(self) -> str:
        """That of a student who was not met before."""
        return next(self._college_tokens)

    def start(self, command: tuple[str, ...] = COMMAND, /, **variables: str) -> Service:
        """A service that may never serve."""
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        given = {"EXTERNAL_API_BASE": self.platform.url, "WORKERS": "1", **variables}
        service = Service(directory, given, command)
        self._stack.callback(service.close)
        return service

    def serve(self, command: tuple[str, ...] = COMMAND, /, **variables: str) -> Service:
        """A service that serves."""
        return self.start(command, **variables).wait_until_serving()

    def told(self, service: Service, *, after: int = 0) -> tuple[str, str]:
        """Level and text of the first line behind that character which is no access
        line: waits for it.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for line in service.log[after:].splitlines():
                if line.startswith("usage: "):
                    continue
                if not line.startswith("{"):
                    return "stderr", line
                with suppress(ValueError):
                    entry = json.loads(line)
                    if entry["logger"] != "aims_server.access":
                        return entry["level"], entry["message"]
            time.sleep(0.02)
        raise AssertionError(f"nothing is told:\n{service.log}")


Provoke = Callable[[Bench], tuple[str, str]]


# -- at the start -------------------------------------------------------------


def at_start(
    env_file: str | None = None,
    command: tuple[str, ...] = COMMAND,
    **variables: str,
) -> Provoke:
    """A start whose first line tells it."""

    def provoke(bench: Bench) -> tuple[str, str]:
        if env_file is not None:
            script = (
                f"printf '%s' '{env_file}' >.env; exec {sys.executable} -m aims_server"
            )
            return bench.told(bench.start(("bash", "-c", script), **variables))
        return bench.told(bench.start(command, **variables))

    return provoke


def taken_port(bench: Bench) -> tuple[str, str]:
    """Somebody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = bench.start(PORT=str(taken.getsockname()[1]))
        service.wait()
        return bench.told(service)


def shell(script: str) -> tuple[str, ...]:
    """The service, started by a shell that does something first."""
    return ("bash", "-c", f"{script}; exec {sys.executable} -m aims_server")


# -- while it serves ----------------------------------------------------------


def log_unread(bench: Bench) -> tuple[str, str]:
    """Its log is a pipe that nobody reads until later."""
    port = free_port()
    service = bench.start(
        shell("exec 2> >(until [ -e read ]; do sleep 0.05; done; exec cat)"),
        PORT=str(port),
        RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1000000",
    )
    service.url = f"http://127.0.0.1:{port}"
    until(partial(_serves, service))
    while not sum(service.figures("aims_log_lines_lost_total")):
        for _ in range(200):
            service.get(f"/nowhere/{'x' * 400}")
    (service.directory / "read").touch()
    match = service.wait_for_log("log lines were lost")
    return bench.told(service, after=service.log.rindex("{", 0, match.start()))


def _serves(service: Service) -> bool:
    with suppress(OSError):
        return service.get("/health")[0] == 200
    return False


def reload_in_vain(bench: Bench) -> tuple[str, str]:
    """A setting has changed that only a restart takes."""
    service = bench.serve()
    after = len(service.log)
    (service.directory / ".env").write_text("CACHE_SHARED_MB=8\n")
    service.signal(signal.SIGHUP)
    return bench.told(service, after=after)


def killed_worker(bench: Bench) -> tuple[str, str]:
    """As the kernel does when memory runs out."""
    service = bench.serve()
    after = len(service.log)
    os.kill(service.workers()[0], signal.SIGKILL)
    return bench.told(service, after=after)


def hung_worker(bench: Bench) -> tuple[str, str]:
    """Its loop stands still."""
    service = bench.serve((sys.executable, "-c", SOON_HUNG))
    # Any is taken for hung soon, perhaps before this one is stopped.
    after = service.log.index("\n", service.log.index("Serving on")) + 1
    with suppress(ProcessLookupError):
        for worker in service.workers():
            os.kill(worker, signal.SIGSTOP)
    return bench.told(service, after=after)


def wrong_reload(bench: Bench) -> tuple[str, str]:
    """A setting is wrong when HUP comes."""
    service = bench.serve()
    after = len(service.log)
    (service.directory / ".env").write_text("CACHE_MAX_MB=much\n")
    service.signal(signal.SIGHUP)
    return bench.told(service, after=after)


def breaking_start(bench: Bench) -> tuple[str, str]:
    """Workers cannot start, and none is left."""
    service = bench.serve(BREAKABLE)
    (service.directory / "broken").touch()
    time.sleep(0.6)  # or its death would be a failed start too
    os.kill(service.workers()[0], signal.SIGKILL)
    match = service.wait_for_log("No worker can be started")
    return bench.told(service, after=service.log.rindex("{", 0, match.start()))


def breaking_reload(bench: Bench) -> tuple[str, str]:
    """New workers cannot start; the old ones serve."""
    service = bench.serve(BREAKABLE)
    (service.directory / "broken").touch()
    service.signal(signal.SIGHUP)
    match = service.wait_for_log("New workers cannot be started")
    return bench.told(service, after=service.log.rindex("{", 0, match.start()))


def signalled(*numbers: signal.Signals) -> Provoke:
    """Signals one after the other; what the last one is told with."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(DRAIN_DELAY_SECONDS="30")
        after = 0
        for number in numbers:
            after = len(service.log)
            service.signal(number)
            bench.told(service, after=after)
        return bench.told(service, after=after)

    return provoke


def grace_over(bench: Bench) -> tuple[str, str]:
    """A call hangs while the service stops."""
    service = bench.serve(DRAIN_DELAY_SECONDS="0", SHUTDOWN_GRACE_SECONDS="0.3")
    bench.platform.turn(hold="*")
    bench.platform.turn(reset=True)
    asking = Thread(target=_ask_in_vain, args=(service, bench.token()))
    asking.start()
    until(lambda: bench.platform.counters()["calls"])
    service.signal(signal.SIGTERM)
    match = service.wait_for_log("SHUTDOWN_GRACE_SECONDS .* is over")
    asking.join()
    bench.platform.turn(release="*")
    return bench.told(service, after=service.log.rindex("{", 0, match.start()))


def worker_told(bench: Bench) -> tuple[str, str]:
    """SIGTERM to one worker alone."""
    service = bench.serve()
    after = len(service.log)
    os.kill(service.workers()[0], signal.SIGTERM)
    return bench.told(service, after=after)


def malformed(bench: Bench) -> tuple[str, str]:
    """Something else than HTTP arrives."""
    service = bench.serve()
    after = len(service.log)
    address = service.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Key : secret\r\n\r\n")
        client.recv(1000)
    return bench.told(service, after=after)


def _ask_in_vain(service: Service, token: str) -> None:
    with suppress(OSError):
        service.get("/api/quiz", token)


# -- limits and load ----------------------------------------------------------


def limited(requests: int, path: str = "/api/quiz", **variables: str) -> Provoke:
    """So many requests of one student."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(**variables)
        after, token = len(service.log), bench.token()
        for _ in range(requests):
            service.get(path, token)
        return bench.told(service, after=after)

    return provoke


def many_connections(bench: Bench) -> tuple[str, str]:
    """More clients than there are files for."""
    service = bench.serve(shell("ulimit -n 300"))
    after = len(service.log)
    host, port = service.url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection((host, int(port))))
        return bench.told(service, after=after)


def full_cache(bench: Bench) -> tuple[str, str]:
    """More students than the cache has room for."""
    service = bench.serve(CACHE_MAX_MB="1", CACHE_SHARED_MB="0")
    after = len(service.log)
    while "The cache is full" not in service.log:
        for _ in range(20):
            service.get("/api/all-attendance", bench.token())
    return bench.told(service, after=after)


def waiting(bench: Bench) -> tuple[str, str]:
    """One call at a time, and the platform takes a second over each."""
    service = bench.serve(MAX_CONCURRENT_REQUESTS="1", PREFETCH_ON_LOGIN="false")
    after = len(service.log)
    bench.platform.turn(faults={"*": {"delay": 1.5}})
    asking = [
        Thread(target=_ask_in_vain, args=(service, bench.token())) for _ in range(3)
    ]
    for each in asking:
        each.start()
    told = bench.told(service, after=after)
    for each in asking:
        each.join()
    bench.platform.turn(clear="*")
    return told


# -- the platform -------------------------------------------------------------


def ill(seconds: int = 20, **fault: object) -> Provoke:
    """The platform does that to one call, which may take so long."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(
            REQUEST_TIMEOUT_SECONDS=str(seconds), GATHER_TIMEOUT_SECONDS=str(seconds)
        )
        after = len(service.log)
        bench.platform.turn(clear="*", faults={"*": fault})
        service.get("/api/quiz", bench.token())
        bench.platform.turn(clear="*")
        return bench.told(service, after=after)

    return provoke


def another_student(bench: Bench) -> tuple[str, str]:
    """The platform mixes students up."""
    service = bench.serve()
    after = len(service.log)
    bench.platform.turn(switches={"answers_for": COLLEGE.student(1999).id})
    service.get("/api/attendance", bench.token())
    bench.platform.turn(switches={"answers_for": None})
    return bench.told(service, after=after)


def elsewhere(base: str, **variables: str) -> Provoke:
    """The platform is looked for at another address."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.serve(
            EXTERNAL_API_BASE=base, REQUEST_TIMEOUT_SECONDS="20", **variables
        )
        after = len(service.log)
        service.get("/api/quiz", bench.token())
        return bench.told(service, after=after)

    return provoke


def not_tls(bench: Bench) -> tuple[str, str]:
    """Plain HTTP answers where TLS is expected."""
    return elsewhere(bench.platform.url.replace("http://", "https://"))(bench)


def wrong_certificate(bench: Bench) -> tuple[str, str]:
    """Nobody who is trusted has signed it."""
    with _tls_server() as port:
        return elsewhere(f"https://127.0.0.1:{port}")(bench)


def circuit(bench: Bench) -> tuple[str, str]:
    """Calls of several students fail whom the platform has known before."""
    nothing_kept = {"CACHE_TTL_SECONDS": "0", "CACHE_STALE_SECONDS": "0"}
    service = bench.serve(CACHE_REFRESH_FLOOR_SECONDS="0", **nothing_kept)
    students = [bench.token() for _ in range(4)]
    for token in students:
        service.get("/api/quiz", token)
    bench.platform.turn(faults={"*": {"kind": "status", "status": 500}})
    for token in students:
        service.get("/api/quiz", token)
    bench.platform.turn(clear="*")
    match = service.wait_for_log("The circuit to the platform's")
    return bench.told(service, after=service.log.rindex("{", 0, match.start()))


# -- the store ------------------------------------------------------------------

NO_STORE = {
    "STORE_URL": "redis://aims:canary@127.0.0.1:9/0",
    "STORE_SECRET": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}


def store_gone(words: str) -> Provoke:
    """Nobody listens where the store should be."""

    def provoke(bench: Bench) -> tuple[str, str]:
        service = bench.start(**NO_STORE)
        match = service.wait_for_log(words)
        return bench.told(service, after=service.log.rindex("{", 0, match.start()))

    return provoke


@contextmanager
def _tls_server() -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with suppress(OSError), client:
                        context.wrap_socket(client, server_side=True).close()

        serving = Thread(target=accept, daemon=True)
        serving.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        serving.join()


FAULTS: dict[str, dict[str, Provoke]] = {
    "Before it serves": {
        "a wrong setting": at_start(PORT="many"),
        "a misspelt name in .env": at_start("LOG_LEVLE=debug\n"),
        "a misspelt name in the environment": at_start(LOG_LEVLE="debug"),
        "a line of .env that is none": at_start("PORT 3002\n"),
        "a name twice in .env": at_start("WORKERS=1\n\nWORKERS=2\n"),
        ".env cannot be read": at_start(command=shell("mkdir .env")),
        "an option that does not exist": at_start(command=(*COMMAND, "--port", "3002")),
        "the port is taken": taken_port,
        "an address of another machine": at_start(
            HOST="203.0.113.7", METRICS_TOKEN="x"
        ),
        "something else than a socket is handed over": at_start(
            command=(
                "bash",
                "-c",
                "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1"
                f" exec {sys.executable} -m aims_server",
            )
        ),
        "few open files are allowed": at_start(command=shell("ulimit -n 300")),
        "too few open files are allowed": at_start(command=shell("ulimit -n 40")),
        "memory is too tightly limited": at_start(command=shell("ulimit -v 200000")),
        "the platform over plain http": at_start(
            EXTERNAL_API_BASE="http://platform.example/api"
        ),
        "/metrics open to everybody": at_start(HOST="0.0.0.0"),
    },
    "The process": {
        "its log takes no lines for a while": log_unread,
        "a worker is killed, by memory perhaps": killed_worker,
        "a worker hangs": hung_worker,
        "a worker is told to end": worker_told,
        "no worker can start": breaking_start,
        "no new worker can start at a reload": breaking_reload,
        "wrong settings at a reload": wrong_reload,
        "a setting that a reload cannot change": reload_in_vain,
        "a reload": signalled(signal.SIGHUP),
        "a stop": signalled(signal.SIGTERM),
        "a second SIGTERM": signalled(signal.SIGTERM, signal.SIGTERM),
        "requests do not end in time at a stop": grace_over,
    },
    "Clients and load": {
        "what arrives is no HTTP": malformed,
        "no connection is left": many_connections,
        "a student asks too often": limited(3, RATE_LIMIT_PER_MINUTE="1"),
        "an address asks too often": limited(
            3, "/nowhere", RATE_LIMIT_PER_ADDRESS_PER_MINUTE="1"
        ),
        "the cache is too small": full_cache,
        "calls wait for a place": waiting,
    },
    "The platform": {
        "its name is not found": elsewhere("http://platform.invalid/api"),
        "nobody listens there": elsewhere("http://127.0.0.1:9/api"),
        "it speaks no TLS": not_tls,
        "a certificate that nobody trusts": wrong_certificate,
        "it does not answer": ill(1, kind="hang"),
        "it breaks the connection off": ill(kind="reset"),
        "it answers with a 500": ill(kind="status", status=500),
        "it answers with a 503": ill(kind="status", status=503),
        "it asks for a pause (429)": ill(3, kind="rate_limited", retry_after="1"),
        "it answers with an HTML page": ill(kind="html"),
        "it answers with broken JSON": ill(kind="broken_json"),
        "it leads elsewhere": ill(kind="redirect"),
        "its answer is too large": ill(kind="gzip_bomb"),
        "it answers with a malformed header": ill(kind="bad_header"),
        "it answers for another student": another_student,
        "it is not called any more": circuit,
    },
    "The store": {
        "it cannot be reached": store_gone("The store at"),
        "other machines' refusals are not known": store_gone("Tokens refused on"),
    },
}


def provoked() -> Iterator[Told]:
    """All faults, one after the other."""
    with ExitStack() as stack:
        bench = Bench(stack)
        for group, faults in FAULTS.items():
            for fault, provoke in faults.items():
                bench.platform.turn(clear="*", release="*")
                yield Told(group, fault, *map(without_chance, provoke(bench)))


def without_chance(line: str) -> str:
    """What stays the same from run to run."""
    line = line.replace(sys.executable, "python")
    line = re.sub(r"/\S*/(\.env)", r"/etc/aims-server/\1", line)
    line = re.sub(r"port \d{4,5}\b", "port 3001", line)
    line = re.sub(r"(?<=after )\d+(\.\d+)? s", "0.2 s", line)
    line = re.sub(r"\b\d+ (answers left|kept in|log lines)", r"7 \1", line)
    line = re.sub(r"(?<=took none for )\d+ s", "3 s", line)
    return re.sub(r"in \d+\.\d MB", "in 0.9 MB", line)


def page(told: list[Told]) -> str:
    """docs/faults-and-logs.rst."""
    text = """\
Faults and their lines
======================

The first line of the log that tells a fault, as it is printed, without its time; each
was provoked on the running service (``tests/process/faults.py`` does it again and
writes this page). *stderr* lines are printed before the log begins.

A fault that comes by the thousand is told at once and then counted: "… 999 times more
in the last 60 s". The access line of a failed request has its ``code`` and
``upstreamSeconds``. Under systemd ``journalctl -u aims-server -p warning`` shows what
follows from warnings on.
"""
    for group in FAULTS:
        text += f"\n{group}\n{'-' * len(group)}\n\n"
        text += ".. list-table::\n   :widths: 30 8 62\n   :header-rows: 1\n\n"
        text += "   * - fault\n     - level\n     - line\n"
        for entry in told:
            if entry.group == group:
                text += f"   * - {entry.fault}\n     - {entry.level}\n"
                text += f"     - ``{entry.line}``\n"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(list(provoked())), encoding="utf-8")
