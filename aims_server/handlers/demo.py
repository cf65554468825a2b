"""The demo's controls: students to log in as, and scenarios that the simulated platform
can play. Only ``aims-server demo`` serves them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..errors import InvalidRequest
from ..pages import DEMO
from ..upstream import Transport
from ..web import json_response
from .base import BaseHandler
from .context import HandlerContext

__all__ = ["DemoHandler"]

_TIMEOUT_SECONDS: Final = 5.0  # the simulated platform answers its controls at once


class _Choice(msgspec.Struct):
    scenario: str


class DemoHandler(BaseHandler):
    """GET and POST /demo."""

    endpoint = DEMO

    def initialize(  # type: ignore[override]  # the route's arguments
        self,
        context: HandlerContext,
        students: Sequence[Mapping[str, str]],
        control_url: str,
        transport: Transport,
    ) -> None:
        """``students`` are shown; ``control_url`` is the platform's switch."""
        super().initialize(context)
        self._students = students
        self._control_url = control_url
        self._transport = transport

    async def get(self) -> None:
        """Write the students to log in as, and the scenarios."""
        await self._send(None)

    async def post(self) -> None:
        """Make the platform play the body's ``scenario``."""
        try:
            choice = msgspec.json.decode(self.request.body, type=_Choice)
        except (ValueError, RecursionError):
            raise InvalidRequest("A scenario is needed.") from None
        await self._send(msgspec.json.encode(choice))

    async def _send(self, choice: bytes | None) -> None:
        reply = await self._transport.fetch(
            self._control_url, headers={}, seconds=_TIMEOUT_SECONDS, body=choice
        )
        if reply.status != 200:
            raise InvalidRequest("There is no such scenario.")
        state: dict[str, Any] = msgspec.json.decode(reply.body)
        controls = {
            "students": self._students,
            "scenario": state["scenario"],
            "scenarios": [
                {"name": name, "what": what}
                for name, what in state["scenarios"].items()
            ],
        }
        self.send(json_response(200, msgspec.json.encode(controls)))
