"""Opens connections before the requests for them are known.

Curl opens connections only for calls. So a call begins without its request: curl
connects and sends its TLS hello, and the server's hello is withheld from curl until
there is a request. Then curl ends the handshake and sends the request at once.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

import pycurl
from msgspec import Struct

from .curl_sockets import CurlSockets
from .handles import Handles

__all__ = ["Preconnections"]

_LIFETIME_SECONDS: Final = 5.0  # servers wait longer for the end of a handshake
_TICKET_SECONDS: Final = 0.1  # a round trip, mostly


class _Preconnection(Struct, eq=False):
    """A handle that has no request yet, and the socket that curl may not read."""

    curl: pycurl.Curl
    began: float
    expiry: asyncio.TimerHandle
    withheld: int | None = None


class Preconnections:
    """Handles that connect without a request, to be claimed by a call or dropped. All
    go to one server: that of the last URL given.
    """

    def __init__(
        self,
        handles: Handles,
        loop: asyncio.AbstractEventLoop,
        multi: pycurl.CurlMulti,
        sockets: CurlSockets,
    ) -> None:
        self._handles = handles
        self._loop = loop
        self._multi = multi
        self._sockets = sockets
        self.unclaimed: dict[pycurl.Curl, _Preconnection] = {}
        """Those under way, the oldest first."""

        self._by_socket: dict[int, _Preconnection] = {}
        self._origin = ""
        self._expected = 0
        self.deferred = False
        """Whether what is expected will be opened once a call has its connection."""

        self._opening: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.unclaimed)

    def prepare(self, url: str) -> None:
        """Open a connection for a call that may come in the next seconds. Curl does its
        one-time work with it, such as reading the trusted certificates.
        """
        if url.startswith("https:"):
            self._origin = _origin_of(url)
            self._open_lacking(self._expected + 1)

    @contextlib.contextmanager
    def expect(self, url: str, calls: int) -> Iterator[None]:
        """Open connections while the block runs, for so many GETs to the host of
        ``url`` that will be made at once when it ends. Only those are opened that all
        expected calls together lack.

        Until the server is known to speak HTTP/1.1, none is opened before the next call
        has a connection: over HTTP/2 all calls share that one.
        """
        if not url.startswith("https:") or self._handles.multiplexed:
            yield
            return
        self._origin = _origin_of(url)
        self._expected += calls
        try:
            if self._handles.multiplexed is None:
                self.deferred = True
            else:
                self._open_lacking(self._expected)
            yield
        finally:
            self._expected -= calls

    def on_event(self, *, is_sent: bool) -> None:
        """Something arrived from the server; ``is_sent`` says that a request was sent.

        A connection's first event after its request may bring the TLS session ticket,
        with which later handshakes cost half. Not every server sends one.
        """
        if self._opening is not None:
            self._opening.cancel()
            self._open_expected()
        elif is_sent:
            self._opening = self._loop.call_later(_TICKET_SECONDS, self._open_expected)

    def withhold(self, fd: int) -> bool:
        """Whether what has arrived on a socket is withheld from curl for now."""
        begun = self._by_socket.get(fd)
        if begun is None:
            return False
        begun.withheld = fd
        self._sockets.pause(fd)
        return True

    def forget(self, fd: int) -> None:
        """Curl closes a socket, or uses it no more."""
        begun = self._by_socket.pop(fd, None)
        if begun is not None and begun.withheld == fd:
            begun.withheld = None  # the number may soon be another socket's

    def claim(self, url: str) -> tuple[pycurl.Curl, float]:
        """The oldest handle, which will request this URL of the server, and the seconds
        since it began.
        """
        begun = next(iter(self.unclaimed.values()))
        opened = [fd for fd, owner in self._by_socket.items() if owner is begun]
        self._remove(begun)
        if begun.withheld is not None:
            self._sockets.resume(begun.withheld)
        # Curl has read the URL already; this it reads with the request.
        begun.curl.setopt(pycurl.REQUEST_TARGET, url[len(self._origin) :])
        self._handles.restore(begun.curl)
        self._handles.state(begun.curl).opened = opened
        return begun.curl, self._loop.time() - begun.began

    def discard(self, curl: pycurl.Curl) -> None:
        """Take back a handle that got no request."""
        self._remove(self.unclaimed[curl])
        self._multi.remove_handle(curl)
        self._handles.release(curl)

    def discard_oldest(self) -> None:
        """Close the oldest one, because its handle is needed."""
        self.discard(next(iter(self.unclaimed)))

    def close(self) -> None:
        """Cancel the timers, which refer to the pool."""
        for begun in list(self.unclaimed.values()):
            self._remove(begun)
        if self._opening is not None:
            self._opening.cancel()

    def _open_expected(self) -> None:
        self._opening = None
        self.deferred = False
        self._open_lacking(self._expected)

    def _open_lacking(self, calls: int) -> None:
        """Open as many as so many simultaneous calls lack."""
        for _ in range(calls - self._handles.idle_connections - len(self)):
            if not self._handles.has_free:
                break
            self._open(self._handles.take(f"{self._origin}/"))

    def _open(self, curl: pycurl.Curl) -> None:
        expiry = self._loop.call_later(_LIFETIME_SECONDS, self.discard, curl)
        begun = _Preconnection(curl, self._loop.time(), expiry)

        def on_socket(fd: int, _: int) -> int:
            self._by_socket[fd] = begun
            return pycurl.SOCKOPT_OK

        curl.setopt(pycurl.SOCKOPTFUNCTION, on_socket)
        curl.setopt(pycurl.PREREQFUNCTION, _abort)
        # Without the limit of the handle's last call: ``expiry`` ends it.
        curl.setopt(pycurl.TIMEOUT_MS, 0)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, 0)
        if self._handles.multiplexed is False:
            curl.setopt(pycurl.FRESH_CONNECT, 1)  # leave the kept ones alone
        self.unclaimed[curl] = begun
        self._multi.add_handle(curl)

    def _remove(self, begun: _Preconnection) -> None:
        del self.unclaimed[begun.curl]
        begun.expiry.cancel()
        for fd in [fd for fd, owner in self._by_socket.items() if owner is begun]:
            del self._by_socket[fd]


def _abort(*_: str | int) -> int:
    """Abort: a connection without a request is one that other calls share."""
    return pycurl.PREREQFUNC_ABORT


def _origin_of(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])
