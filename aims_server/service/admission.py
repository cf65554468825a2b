"""Admits all calls of a page before the first one is made, and estimates when a page
that timed out will be ready.
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
from .student_calls import caller_key
from .student_records import Admit

__all__ = ["PageAdmission"]

# A page is admitted if its calls fit into this share of a request's time. The rest is a
# reserve: calls may become slower while a crowd's pages are gathered.
_ADMITTED_SHARE: Final = 0.7


class PageAdmission:
    """Admits a page if all its calls can be made within ``request_seconds``."""

    def __init__(self, upstream: UpstreamClient, request_seconds: float) -> None:
        self._upstream = upstream
        self._request_seconds = request_seconds

    def reserve(
        self, caller: Caller, calls: int
    ) -> AbstractContextManager[Reservation]:
        """Admit so many calls until the block ends; raises :class:`Overloaded` if they
        could not all be made in time.
        """
        seconds = _ADMITTED_SHARE * self._request_seconds
        return self._upstream.reserve(caller_key(caller), calls, seconds)

    def too_late(self) -> UpstreamTimeout:
        """The error at the deadline of a page that waits for one call, or for work of
        another process. Estimate: it takes a fifth longer than it has so far.
        """
        return UpstreamTimeout(retry_after=self._request_seconds / 5)

    @contextmanager
    def reserve_when_needed(self, caller: Caller, calls: int) -> Iterator[Admit]:
        """Reserve ``calls`` for this block, but only once the first of them is made.

        Yields ``admit``: enter its context manager around each call. The first call
        reserves all of them until the block ends, as `reserve` does, so a page made of
        kept answers reserves nothing. A call that begins after the block, to refresh a
        kept answer, reserves only itself.
        """
        admitted = over = False
        with ExitStack() as reservation:

            def admit() -> AbstractContextManager[object]:
                nonlocal admitted
                if over:
                    return self.reserve(caller, 1)
                if not admitted:
                    reservation.enter_context(self.reserve(caller, calls))
                    admitted = True
                return nullcontext()

            try:
                yield admit
            finally:
                over = True
