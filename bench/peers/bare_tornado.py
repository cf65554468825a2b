"""The limit on Tornado's default loop: a handler that writes ready bytes and nothing
else. ``python -m bench.peers.bare_tornado PORT WORKERS FILE``.
"""

import asyncio
import sys
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler


class Bytes(RequestHandler):
    """Writes the same bytes to everybody."""

    def initialize(self, body: bytes) -> None:
        """Take the bytes."""
        self.body = body

    def get(self) -> None:
        """Write them."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.write(self.body)


def main() -> None:
    """Bind, fork, serve: the form of Tornado's own guide."""
    port, workers, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sockets = bind_sockets(port, "127.0.0.1", backlog=1024)
    if workers > 1:
        fork_processes(workers)

    body = Path(path).read_bytes()

    async def serve() -> None:
        routes = [(r"/.*", Bytes, {"body": body})]
        server = HTTPServer(Application(routes, log_function=lambda _: None))
        server.add_sockets(sockets)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
