"""Admits the calls of a page to the platform as a whole, before the first of them, and
estimates when a page that timed out will be there.
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

# Of a request's time, in which a page's calls must be possible to be admitted; the rest
# is left since calls may become slower while a crowd's pages are gathered.
_ADMITTED_SHARE: Final = 0.7


class PageAdmission:
    """Admits pages whose calls can all be made in a request's time, in seconds."""

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
        """The error at the deadline of a page that waits for one call, which is
        expected to take a fifth longer than it has so far; or for we do not know what.
        """
        return UpstreamTimeout(retry_after=self._request_seconds / 5)

    @contextmanager
    def reserve_when_needed(self, caller: Caller, calls: int) -> Iterator[Admit]:
        """Reserve ``calls`` for this block, but only once the first of them is made.

        Yields ``admit``, whose context manager is to be entered round each call: the
        first time it reserves all calls, as `reserve` does, until the block ends. A
        page made of kept answers thus reserves nothing. Round a call that begins after
        the block, to refresh what was kept, it reserves that call alone.
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
