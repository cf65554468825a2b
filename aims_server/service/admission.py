"""Admits the calls of a page as a whole, before the first of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from ..upstream import UpstreamClient
from ..web import Caller
from .records import caller_key

__all__ = ["PageAdmission"]

# Of a request's time: calls may become slower while a crowd's pages are gathered.
_PROMISED_SHARE: Final = 0.7


class PageAdmission:
    """Admits pages whose calls can all be made in a request's time."""

    def __init__(self, upstream: UpstreamClient, request_seconds: float) -> None:
        self._upstream = upstream
        self._seconds = _PROMISED_SHARE * request_seconds

    @contextmanager
    def of(self, caller: Caller, calls: int) -> Iterator[Callable[[], None]]:
        """What admits so many calls, until the block ends: to be called before each,
        since kept answers need none.

        It raises :class:`Overloaded` if they could not all be made in time.
        """
        admitted = False
        with ExitStack() as reservation:

            def admit() -> None:
                nonlocal admitted
                if not admitted:
                    key = caller_key(caller)
                    reservation.enter_context(
                        self._upstream.reserve(key, calls, self._seconds)
                    )
                    admitted = True

            yield admit
