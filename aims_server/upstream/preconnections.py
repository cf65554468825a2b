"""Connections that are opened before it is known what will be asked on them.

Curl opens one for a call only. So a call is begun without its request: curl connects
and says hello to TLS, and the answer to that is kept from it until there is a request.
It then ends the handshake and sends the request in one go, a round trip after TLS 1.3
would have had both.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Final

import pycurl

__all__ = ["Preconnections"]

_LIFETIME_SECONDS: Final = 5.0  # servers wait longer for the end of a handshake


class _Preconnection:
    """A handle that has no request yet, and the socket that curl may not read."""

    __slots__ = ("began", "curl", "expiry", "origin", "withheld")

    def __init__(self, curl: pycurl.Curl, origin: str, began: float) -> None:
        self.curl = curl
        self.origin = origin
        self.began = began
        self.withheld: int | None = None
        self.expiry: asyncio.TimerHandle | None = None


class Preconnections:
    """Handles under way without a request, each claimed by one call or given up.

    ``release`` gets the handles that were given up, out of curl's hands again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        multi: pycurl.CurlMulti,
        epoll: select.epoll,
        release: Callable[[pycurl.Curl], None],
    ) -> None:
        self._loop = loop
        self._multi = multi
        self._epoll = epoll
        self._release = release
        self._unclaimed: dict[pycurl.Curl, _Preconnection] = {}
        self._by_socket: dict[int, _Preconnection] = {}

    def __len__(self) -> int:
        return len(self._unclaimed)

    def open(self, curl: pycurl.Curl, origin: str) -> None:
        """Begin a call on a handle that has all but its request."""
        begun = _Preconnection(curl, origin, self._loop.time())

        def on_socket(fd: int, _: int) -> int:
            if curl in self._unclaimed:
                self._by_socket[fd] = begun
            return pycurl.SOCKOPT_OK

        curl.setopt(pycurl.SOCKOPTFUNCTION, on_socket)
        curl.setopt(pycurl.PREREQFUNCTION, _abort)
        begun.expiry = self._loop.call_later(_LIFETIME_SECONDS, self.give_up, curl)
        self._unclaimed[curl] = begun
        self._multi.add_handle(curl)

    def withhold(self, fd: int) -> bool:
        """Whether what has come on a socket is to be kept from curl for now."""
        begun = self._by_socket.get(fd)
        if begun is None:
            return False
        begun.withheld = fd
        self._epoll.unregister(fd)
        return True

    def forget(self, fd: int) -> None:
        """Curl closes a socket, or has no more use for it."""
        self._by_socket.pop(fd, None)

    def claim(self, url: str) -> tuple[pycurl.Curl, str, float] | None:
        """A handle on the way to a URL's origin, the rest of the URL, and for how many
        seconds the handle has been under way; None if there is none.
        """
        for begun in self._unclaimed.values():
            if url.startswith(begun.origin + "/"):
                break
        else:
            return None
        self._remove(begun)
        if begun.withheld is not None:
            self._epoll.register(begun.withheld, select.EPOLLIN)
        target = url[len(begun.origin) :]
        return begun.curl, target, self._loop.time() - begun.began

    def discard(self, curl: pycurl.Curl) -> bool:
        """Curl has ended a handle; True if it had no request."""
        begun = self._unclaimed.get(curl)
        if begun is not None:
            self._remove(begun)
        return begun is not None

    def give_up(self, curl: pycurl.Curl) -> None:
        """Close a connection that nobody has claimed."""
        if self.discard(curl):
            self._multi.remove_handle(curl)
            self._release(curl)

    def give_up_one(self) -> None:
        """Close the oldest, as its handle is needed."""
        self.give_up(next(iter(self._unclaimed)))

    def close(self) -> None:
        """Let no timer hold the pool."""
        for begun in list(self._unclaimed.values()):
            self._remove(begun)

    def _remove(self, begun: _Preconnection) -> None:
        del self._unclaimed[begun.curl]
        if begun.expiry is not None:
            begun.expiry.cancel()
        for fd in [fd for fd, owner in self._by_socket.items() if owner is begun]:
            del self._by_socket[fd]


def _abort(*_: str | int) -> int:
    """There is a connection and no request: it is one that other calls share."""
    return pycurl.PREREQFUNC_ABORT
