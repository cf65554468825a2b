"""A gate that holds answers back until they are released."""

import asyncio

from .faults import EVERYWHERE

__all__ = ["Gate"]


class Gate:
    """Calls pass an endpoint that is not held, and wait before one that is."""

    def __init__(self) -> None:
        """Open everywhere."""
        self._held: dict[str, asyncio.Event] = {}

    @property
    def held(self) -> list[str]:
        """What is held: names of endpoints, or "*"."""
        return list(self._held)

    def hold(self, endpoint: str = EVERYWHERE) -> None:
        """Let no call pass; those that have passed are not called back."""
        self._held.setdefault(endpoint, asyncio.Event())

    def release(self, endpoint: str = EVERYWHERE) -> None:
        """Let the waiting calls of an endpoint pass; "*" lifts every hold."""
        names = self.held if endpoint == EVERYWHERE else [endpoint]
        for name in names:
            opened = self._held.pop(name, None)
            if opened is not None:
                opened.set()

    async def passed(self, endpoint: str) -> None:
        """Return when nothing holds this endpoint."""
        while event := self._held.get(EVERYWHERE) or self._held.get(endpoint):
            await event.wait()
