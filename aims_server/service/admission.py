"""Admits calls of a page that are made at once before the first of them, and estimates
when a page that timed out will be ready.
"""

from contextlib import AbstractContextManager
from typing import Final

from ..errors import UpstreamTimeout
from ..upstream import Reservation, UpstreamClient
from ..web import Caller
from .student_calls import caller_key

__all__ = ["PageAdmission"]

# A page is admitted if its calls fit into this share of a request's time. The rest is a
# reserve: calls may become slower while a crowd's pages are gathered.
_ADMITTED_SHARE: Final = 0.7


class PageAdmission:
    """Admits calls that can all be made within ``request_seconds``."""

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
