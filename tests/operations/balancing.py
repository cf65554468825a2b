"""Balancers with our files as an ordinary user runs them, and a small server behind."""

import http.client
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from ..waiting import PATIENCE_SECONDS
from .programs import CONF, program


class Answer(NamedTuple):
    """What came back through a balancer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Backend(ThreadingHTTPServer):
    """In the service's place: answers every request with the headers it came with."""

    daemon_threads = True
    healthy = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.seen: list[tuple[str, int]] = []  # (path, port of the connection)
        self.to_drop: list[str] = []  # paths, each answered once by hanging up

    def handle_error(self, *_: object) -> None:
        """A balancer may hang up on us: no news for a test's output."""

    def times(self, path: str) -> int:
        """How often the path was asked for."""
        return [seen for seen, _ in self.seen].count(path)


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Backend

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, self.client_address[1]))
        if self.path in self.server.to_drop:
            self.server.to_drop.remove(self.path)
            self.close_connection = True
            return
        ill = self.path == "/health" and not self.server.healthy
        body = json.dumps([[k.lower(), v] for k, v in self.headers.items()]).encode()
        self.send_response(503 if ill else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Balancer:
    """A balancer that listens on ``port`` in front of ``backend``."""

    def __init__(self, port: int, backend: Backend) -> None:
        self.port = port
        self.backend = backend

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=PATIENCE_SECONDS
        )
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def passed_on(self, path: str, headers: dict[str, str]) -> dict[str, list[str]]:
        """The headers that reach the service, by name in small letters."""
        seen: dict[str, list[str]] = {}
        for name, value in json.loads(self.ask(path, headers=headers).body):
            seen.setdefault(name, []).append(value)
        return seen


def rewritten(text: str, *changes: tuple[str, str]) -> str:
    """The text with each change made; one that changes nothing is an error."""
    for old, new in changes:
        assert old in text, f"{old!r} is not in the file any more"
        text = text.replace(old, new)
    return text


def nginx_file(directory: Path, port: int, service: int) -> Path:
    """nginx.conf for an ordinary user: paths in ``directory``, given ports."""
    text = rewritten(
        (CONF / "nginx.conf").read_text(),
        ("user www-data;\n", ""),
        ("worker_processes auto;", "worker_processes 1; daemon off;"),
        ("worker_rlimit_nofile 65536;", ""),
        ("worker_connections 16384;", "worker_connections 256;"),
        ("/run/nginx.pid", f"{directory}/nginx.pid"),
        ("/var/log/nginx/", f"{directory}/"),
        (
            "http {\n",
            "http {\n"
            + "".join(
                f"{kind}_temp_path {directory}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            ),
        ),
        ("listen 80 default_server;", f"listen 127.0.0.1:{port};"),
        ("server 127.0.0.1:3001 ", f"server 127.0.0.1:{service} "),
    )
    path = directory / "nginx.conf"
    path.write_text(text)
    return path


def haproxy_file(directory: Path, port: int, service: int) -> Path:
    """haproxy.cfg for an ordinary user: no chroot, given ports."""
    text = rewritten(
        (CONF / "haproxy.cfg").read_text(),
        ("    user haproxy\n", ""),
        ("    group haproxy\n", ""),
        ("    chroot /var/lib/haproxy\n", ""),
        ("/run/haproxy/", f"{directory}/"),
        ("maxconn 8192", "maxconn 256"),
        ("bind :80\n", f"bind 127.0.0.1:{port}\n"),
        ("server one 127.0.0.1:3001", f"server one 127.0.0.1:{service}"),
        ("restarting 127.0.0.1:3001", f"restarting 127.0.0.1:{service}"),
    )
    path = directory / "haproxy.cfg"
    path.write_text(text)
    return path


def nginx_command(path: Path) -> list[str]:
    """How nginx is run with a file of its own."""
    log = path.parent / "error.log"
    return [program("nginx"), "-p", str(path.parent), "-e", str(log), "-c", str(path)]


def haproxy_command(path: Path) -> list[str]:
    """How HAProxy is run in the foreground."""
    return [program("haproxy"), "-db", "-f", str(path)]


KINDS: dict[
    str, tuple[Callable[[Path, int, int], Path], Callable[[Path], list[str]]]
] = {
    "nginx": (nginx_file, nginx_command),
    "haproxy": (haproxy_file, haproxy_command),
}

# What is changed in a file for a second machine at an address. Without probes, which a
# busy machine may answer too late.
SECOND_MACHINE = {
    "nginx": (
        ("#   hash $http", "hash $http"),
        ("#   server 10.0.0.12:3001", "server {}"),
    ),
    "haproxy": (
        ("# server two 10.0.0.12:3001", "server two {}"),
        ("default-server check ", "default-server no-check "),
    ),
}
