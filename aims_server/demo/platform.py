"""The simulated platform as one object: made, started, steered and stopped."""

import asyncio
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application

from .college import College
from .counters import Counters
from .handlers import ROUTES
from .simulation import Simulation

__all__ = ["SimulatedPlatform"]

LARGEST_REQUEST = 1_000_000
_STOP_SECONDS = 60.0  # only a guard: a busy machine may need seconds


class SimulatedPlatform(Simulation):
    """A college behind HTTP, with everything that a test observes or controls.

    ::

        platform = SimulatedPlatform(College(students=50), ids_as_text=True)
        base_url = await platform.start()
        platform.faults.set("cards", kind="status", status=503, share=0.2)
        ...
        assert platform.counters.calls["course_files"] == 1
        await platform.stop()

    Keyword arguments are the fields of Switches; `seed` draws delays and shares.
    """

    def __init__(
        self, college: College | None = None, *, seed: int = 1, **switches: Any
    ) -> None:
        """Build it; raises msgspec.ValidationError for an unknown switch."""
        super().__init__(college or College(), seed)
        self.switch(**switches)
        self.base_url = ""
        self.app = Application(
            [(path, handler, {"simulation": self}) for path, handler in ROUTES],
            log_function=lambda _: None,
        )
        self._server: CountingServer | None = None

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Listen, on a free port for 0, and return the base URL of the API."""
        sockets = bind_sockets(port, host)
        port = sockets[0].getsockname()[1]
        self._server = CountingServer(self.app, max_body_size=LARGEST_REQUEST)
        self._server.counters = self.counters
        self._server.add_sockets(sockets)
        address = f"[{host}]" if ":" in host else host
        self.base_url = f"http://{address}:{port}/api/v1"
        self.elsewhere = f"http://localhost:{port}/api/v1/elsewhere"
        return self.base_url

    async def stop(self) -> None:
        """Close the port and every connection, whatever it is doing."""
        if self._server is None:
            return
        self._server.stop()
        for stream in tuple(self.loose_streams):
            stream.close()
        await self._server.close_all_connections()
        self._server = None
        async with asyncio.timeout(_STOP_SECONDS):
            await self.until(lambda counters: counters.in_flight == 0)

    @property
    def control_url(self) -> str:
        """Where knobs and counters are to be had over loopback."""
        return self.base_url.removesuffix("/api/v1") + "/_control"


class CountingServer(HTTPServer):
    """Tornado's server, which counts the connections it accepts."""

    counters: Counters

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Count, then serve as always."""
        self.counters.connections += 1
        super().handle_stream(stream, address)
