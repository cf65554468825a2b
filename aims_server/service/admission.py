"""Admits the calls of a page as a whole, before the first of them, and estimates when a
page is there that is late.
"""

from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
)
from typing import Final

from ..errors import UpstreamTimeout
from ..upstream import Reservation, UpstreamClient
from ..web import Caller
from .records import Admit, caller_key

__all__ = ["PageAdmission"]

# Of a request's time: calls may become slower while a crowd's pages are gathered.
_PROMISED_SHARE: Final = 0.7


class PageAdmission:
    """Admits pages whose calls can all be made in a request's time."""

    def __init__(self, upstream: UpstreamClient, request_seconds: float) -> None:
        self._upstream = upstream
        self._request_seconds = request_seconds

    def at_once(
        self, caller: Caller, calls: int
    ) -> AbstractContextManager[Reservation]:
        """Admits so many calls from here on, until the block ends; raises
        :class:`Overloaded` if they could not all be made in time.
        """
        seconds = _PROMISED_SHARE * self._request_seconds
        return self._upstream.reserve(caller_key(caller), calls, seconds)

    def too_late(self) -> UpstreamTimeout:
        """The error at the deadline of a page that waits for one call, which is thought
        to take a fifth longer than so far.
        """
        return UpstreamTimeout(retry_after=self._request_seconds / 5)

    @contextmanager
    def of(self, caller: Caller, calls: int) -> Iterator[Admit]:
        """What does so when it is entered first, until this block ends: to be entered
        for each call, since kept answers need none.
        """
        admitted = False
        with ExitStack() as reservation:

            def admit() -> AbstractContextManager[None]:
                nonlocal admitted
                if not admitted:
                    reservation.enter_context(self.at_once(caller, calls))
                    admitted = True
                return nullcontext()

            yield admit
