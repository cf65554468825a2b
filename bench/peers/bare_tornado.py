"""The limit on Tornado's default loop: handlers that write ready bytes, and pass a
login or the course files on with the client Tornado has for speed. ``PORT
WORKERS DIRECTORY``; the directory's files are served by their names.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler

BASE = os.environ["EXTERNAL_API_BASE"]
GZIP = b"\x1f\x8b"


class Bytes(RequestHandler):
    """Writes the same bytes to everybody."""

    def initialize(self, body: bytes) -> None:
        """Take the bytes."""
        self.body = body

    def compute_etag(self) -> None:
        """Have none: Tornado would hash every body that it sends."""

    def get(self) -> None:
        """Write them."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        if self.body.startswith(GZIP):
            self.set_header("Content-Encoding", "gzip")
        self.finish(self.body)

    post = get


class Login(RequestHandler):
    """Passes a login on."""

    def initialize(self, client: CurlAsyncHTTPClient) -> None:
        """Take the client."""
        self.client = client

    async def post(self) -> None:
        """Pass it on, and its answer back."""
        form = urlencode(json.loads(self.request.body))
        answer = await self.client.fetch(
            f"{BASE}/admin/authenticate", method="POST", body=form, raise_error=False
        )
        self.set_status(answer.code)
        self.set_header("Content-Type", "application/json")
        self.finish(answer.body)


class CourseFiles(RequestHandler):
    """Passes the call on that a page of the summary takes."""

    def initialize(self, client: CurlAsyncHTTPClient) -> None:
        """Take the client."""
        self.client = client

    def compute_etag(self) -> None:
        """Have none: Tornado would hash every body that it sends."""

    async def get(self) -> None:
        """Pass it on, and its answer back."""
        answer = await self.client.fetch(
            f"{BASE}/custom/getCFMappedWithStudentID?embed_attendance_summary=1",
            headers={"Authorization": self.request.headers["Authorization"]},
        )
        self.set_header("Content-Type", "application/json")
        self.finish(answer.body)


async def serve(sockets: list[socket.socket], files: dict[str, bytes]) -> None:
    """Serve for ever, in one process."""
    client: CurlAsyncHTTPClient = CurlAsyncHTTPClient(max_clients=100)
    routes: list[Any] = [
        (f"/{name}", Bytes, {"body": body}) for name, body in files.items()
    ]
    routes += [
        ("/api/login", Login, {"client": client}),
        ("/api/attendance", CourseFiles, {"client": client}),
        ("/health", Bytes, {"body": b"{}"}),
    ]
    server = HTTPServer(Application(routes, log_function=lambda _: None))
    server.add_sockets(sockets)
    await asyncio.Event().wait()


def main() -> None:
    """Bind, fork, serve: the form of Tornado's own guide."""
    port, workers, directory = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    sockets = bind_sockets(port, "127.0.0.1", backlog=1024)
    if workers > 1:
        fork_processes(workers)
    files = {file.name: file.read_bytes() for file in directory.iterdir()}
    asyncio.run(serve(sockets, files))


if __name__ == "__main__":
    main()
