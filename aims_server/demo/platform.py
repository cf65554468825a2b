"""The simulated platform as one object: made, started, steered and stopped."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application

from .backend import Backend
from .college import College
from .counters import Counters
from .faults import EVERYWHERE, Faults
from .gate import Gate
from .handlers import ROUTES

__all__ = ["SimulatedPlatform"]

LARGEST_REQUEST = 1_000_000


class SimulatedPlatform:
    """A college behind HTTP, with everything a test wants to see or to spoil.

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
        self.college = college or College()
        self.backend = Backend(self.college)
        self.backend.switch(**switches)
        self.faults = Faults(seed)
        self.gate = Gate()
        self.counters = Counters()
        self.last: dict[str, HTTPServerRequest] = {}
        """The latest request of each endpoint."""

        self.base_url = ""
        self.elsewhere = ""
        self.app = Application(
            [(path, handler, {"platform": self}) for path, handler in ROUTES],
            log_function=lambda _: None,
        )
        self._server: CountingServer | None = None
        self._loose: set[IOStream] = set()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Listen, on a free port for 0, and return the base URL of the API."""
        sockets = bind_sockets(port, host)
        port = sockets[0].getsockname()[1]
        self._server = CountingServer(self.app, max_body_size=LARGEST_REQUEST)
        self._server.counters = self.counters
        self._server.add_sockets(sockets)
        self.base_url = f"http://{host}:{port}/api/v1"
        self.elsewhere = f"http://localhost:{port}/api/v1/elsewhere"
        return self.base_url

    async def stop(self) -> None:
        """Close the port and every connection, whatever it is doing."""
        if self._server is None:
            return
        self._server.stop()
        for stream in tuple(self._loose):
            stream.close()
        await self._server.close_all_connections()
        self._server = None
        async with asyncio.timeout(5):
            await self.until(lambda counters: counters.in_flight == 0)

    @property
    def control_url(self) -> str:
        """Where knobs and counters are to be had over loopback."""
        return self.base_url.removesuffix("/api/v1") + "/_control"

    def hold(self, endpoint: str = EVERYWHERE) -> None:
        """Keep back the answers to an endpoint's calls until release()."""
        self.gate.hold(endpoint)

    def release(self, endpoint: str = EVERYWHERE) -> None:
        """Answer what was held; "*" lifts every hold."""
        self.gate.release(endpoint)

    def switch(self, **changes: Any) -> None:
        """Change some switches (fields of Switches) from now on."""
        self.backend.switch(**changes)

    def revoke(self, token: str) -> None:
        """Let a token count as bad from now on."""
        self.backend.revoke(token)

    async def until(self, seen: Callable[[Counters], bool]) -> None:
        """Wait until the counters are so; put a time-out round it."""
        await self.counters.until(seen)

    @contextmanager
    def loose(self, stream: IOStream) -> Iterator[None]:
        """Own a stream that has been taken from the server, so that stop closes it."""
        self._loose.add(stream)
        try:
            yield
        finally:
            self._loose.discard(stream)

    def turn(self, wish: object) -> None:
        """Do what the body of a PUT to /_control asks for, each part of it optional.

        ``{"reset": true, "clear": "*", "faults": {"cards": {"kind": "hang"}},
        "switches": {"cf_id": true}, "hold": "cards", "release": "*",
        "revoke": "<token>"}``. Raises ValueError or TypeError for anything else.
        """
        order = msgspec.convert(wish, Order)
        if order.clear:
            self.faults.clear(order.clear)
        for endpoint, knobs in order.faults.items():
            self.faults.set(endpoint, **knobs)
        self.switch(**order.switches)
        if order.revoke:
            self.revoke(order.revoke)
        if order.hold:
            self.hold(order.hold)
        if order.release:
            self.release(order.release)
        if order.reset:
            self.counters.reset()

    def as_dict(self) -> dict[str, Any]:
        """Return counters, knobs and switches; nothing of a student."""
        return {
            "counters": self.counters.as_dict(),
            "faults": self.faults.as_dict(),
            "switches": self.backend.switches,
            "held": self.gate.held,
        }


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PUT to /_control; see SimulatedPlatform.turn."""

    reset: bool = False
    clear: str = ""
    faults: dict[str, dict[str, Any]] = {}
    switches: dict[str, Any] = {}
    hold: str = ""
    release: str = ""
    revoke: str = ""


class CountingServer(HTTPServer):
    """Tornado's server, which counts the connections it accepts."""

    counters: Counters

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Count, then serve as always."""
        self.counters.connections += 1
        super().handle_stream(stream, address)
