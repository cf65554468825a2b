"""The state of the simulated platform, and every control that a test has over it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream

from .backend import Backend
from .college import College
from .counters import Counters
from .faults import EVERYWHERE, Endpoint, Faults
from .scenarios import SCENARIOS

__all__ = ["Simulation"]


class Simulation:
    """A college with its backend, faults and counters; it owns no socket.

    ::

        simulation = Simulation(College(students=50), seed=1)
        simulation.faults.set("cards", kind="status", status=503, share=0.2)
        simulation.switch(ids_as_text=True)
        simulation.counters.calls["course_files"]
    """

    def __init__(self, college: College, seed: int) -> None:
        self.college = college
        self.backend = Backend(self.college)
        self.faults = Faults(seed)
        self.counters = Counters()
        self.scenario = ""
        """The name of the one that was last chosen, if any."""

        self.last: dict[str, HTTPServerRequest] = {}
        """The latest request of each endpoint."""

        self.elsewhere = ""
        """Where redirects lead that name no place of their own."""

        self.loose_streams: set[IOStream] = set()
        self._held: dict[str, asyncio.Event] = {}
        self._semaphores: dict[tuple[Endpoint, int], asyncio.Semaphore] = {}

    def hold(self, endpoint: str = EVERYWHERE) -> None:
        """Keep back the answers to an endpoint's calls until release(); those that have
        passed are not called back.
        """
        self._held.setdefault(endpoint, asyncio.Event())

    def release(self, endpoint: str = EVERYWHERE) -> None:
        """Answer what was held; "*" lifts every hold."""
        for name in list(self._held) if endpoint == EVERYWHERE else [endpoint]:
            if name in self._held:
                self._held.pop(name).set()

    async def passed(self, endpoint: str) -> None:
        """Return when nothing holds this endpoint."""
        while event := self._held.get(EVERYWHERE) or self._held.get(endpoint):
            await event.wait()

    @asynccontextmanager
    async def answering(self, endpoint: Endpoint) -> AsyncIterator[None]:
        """Be one of the calls that are answered at a time, as many as the endpoint's
        `capacity` says, in the order of their coming; without one all of them.
        """
        number = self.faults.capacity(endpoint)
        if number is None:
            yield
            return
        key = endpoint, number
        async with self._semaphores.setdefault(key, asyncio.Semaphore(number)):
            yield

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
        self.loose_streams.add(stream)
        try:
            yield
        finally:
            self.loose_streams.discard(stream)

    def play(self, scenario: str) -> None:
        """Turn all knobs to one of SCENARIOS; raises ValueError for any other."""
        if scenario not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise ValueError(f"no scenario {scenario!r}; there are {known}")
        self.faults.clear()
        self.faults.set(**SCENARIOS[scenario].knobs)
        self.scenario = scenario

    def apply(self, body: object) -> None:
        """Do what the JSON body of a PUT to /_control asks for; each field is optional.

        ``{"scenario": "slow", "reset": true, "clear": "*",
        "faults": {"cards": {"kind": "hang"}}, "switches": {"cf_id": true},
        "hold": "cards", "release": "*", "revoke": "<token>"}``. Raises ValueError or
        TypeError for anything else.
        """
        asked = msgspec.convert(body, ControlRequest)
        if asked.scenario:
            self.play(asked.scenario)
        if asked.clear:
            self.faults.clear(asked.clear)
        for endpoint, knobs in asked.faults.items():
            self.faults.set(endpoint, **knobs)
        self.switch(**asked.switches)
        if asked.revoke:
            self.revoke(asked.revoke)
        if asked.hold:
            self.hold(asked.hold)
        if asked.release:
            self.release(asked.release)
        if asked.reset:
            self.counters.reset()

    def as_dict(self) -> dict[str, Any]:
        """Return counters, knobs and switches; nothing of a student."""
        return {
            "scenario": self.scenario,
            "scenarios": {name: each.what for name, each in SCENARIOS.items()},
            "counters": self.counters.as_dict(),
            "faults": self.faults.as_dict(),
            "switches": self.backend.switches,
            "held": list(self._held),
        }


class ControlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a PUT to /_control; see Simulation.apply."""

    scenario: str = ""
    reset: bool = False
    clear: str = ""
    faults: dict[str, dict[str, Any]] = {}
    switches: dict[str, Any] = {}
    hold: str = ""
    release: str = ""
    revoke: str = ""
