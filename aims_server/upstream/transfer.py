"""One call on a curl handle: what is asked, and what has come of its answer so far."""

import asyncio
import re
from collections.abc import Hashable
from io import BytesIO
from typing import Final

import msgspec
import pycurl

from .kept_connections import KeptConnections, is_acknowledged, is_silent

__all__ = ["Reply", "Request", "Transfer"]

_REQUEST_TIMEOUT: Final = 408  # a server's word when it closes an idle connection

# A line of an answer's head or trailer (RFC 9110 5.5, 9112 4), or the empty one. Curl
# itself takes control characters and any name.
_HEADER_LINE: Final = re.compile(
    rb"(?P<status>HTTP/.*)"
    rb"|(?i:Retry-After):(?P<retry_after>[\t -~\x80-\xff]*)"
    rb"|(?i:Location):(?P<location>[\t -~\x80-\xff]*)"
    rb"|[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*"
    rb"|",
    re.DOTALL,
)


class Request(msgspec.Struct, frozen=True):
    """One call: a POST if there is a body. ``seconds`` count from when it gets a
    handle, ``connect_seconds`` are those of them until a connection must be there.
    """

    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    connect_seconds: float

    def __repr__(self) -> str:
        return "<Request>"  # url, headers and body are a student's, or secret


class Reply(msgspec.Struct, frozen=True):
    """What the platform answered, whatever its status."""

    status: int
    body: bytes
    retry_after: str | None
    location: str | None = None


class Transfer:
    """A request with its outcome, and curl's callbacks for it.

    A GET may be made twice: on a kept connection, and, if that turns out to be broken
    or has something on it that nobody asked for, on a new one. A POST is made once, on
    a new one: a login may have been counted by the time that its connection breaks.
    """

    __slots__ = (
        "_abandoned",
        "_body",
        "_connection",
        "_kept",
        "_max_body",
        "_reused_socket",
        "_status_seen",
        "deadline",
        "fresh",
        "location",
        "outcome",
        "request",
        "retry_after",
    )

    def __init__(
        self,
        request: Request,
        outcome: "asyncio.Future[Reply | int]",
        max_body: int,
        kept: KeptConnections,
    ) -> None:
        self.request = request
        self.outcome = outcome
        self.fresh = request.body is not None
        self.deadline: float | None = None
        self._max_body = max_body
        self._kept = kept
        self._clear()

    def restart(self) -> None:
        """Begin anew, on a new connection."""
        self._kept.abandon(self._connection)
        self.fresh = True
        self._clear()

    def _clear(self) -> None:
        self.retry_after: str | None = None
        self.location: str | None = None
        self._body = BytesIO()
        self._abandoned = False
        self._connection: Hashable = None
        self._reused_socket: int | None = None
        self._status_seen = False

    # Curl's callbacks. An exception in one would be printed to stderr by pycurl, past
    # any logging; taking less than what was offered fails the call as cleanly.

    def on_connection(self, *addresses: str | int) -> int:
        """The request is about to be sent; the addresses name the connection."""
        self._connection = addresses
        fd = None if self.fresh else self._kept.socket_of(addresses)
        self._reused_socket = fd
        if fd is not None and not is_silent(fd):
            return pycurl.PREREQFUNC_ABORT
        return pycurl.PREREQFUNC_OK

    def on_header(self, line: bytes) -> int | None:
        """Look at one line of the head: none of it is taken if it is malformed."""
        match = _HEADER_LINE.fullmatch(line.rstrip())
        if match is None:
            return 0
        if match.lastgroup == "status":
            fd = self._reused_socket
            if fd is not None and not is_acknowledged(fd):
                return 0
            self._status_seen = True
            self.retry_after = self.location = (
                None  # the status line before was an interim answer's
            )
        elif match.lastgroup == "retry_after":
            self.retry_after = match["retry_after"].decode("latin-1").strip()
        elif match.lastgroup == "location":
            self.location = match["location"].decode("latin-1").strip()
        return None

    def on_body(self, chunk: bytes) -> int:
        """Keep a part of the body, as unpacked; none of it if it becomes too large."""
        if self._body.tell() + len(chunk) > self._max_body:
            return 0
        return self._body.write(chunk)

    # What comes of it.

    def must_restart(self, error: int | None, status: int) -> bool:
        """Whether this end speaks of the kept connection rather than of the request."""
        if self._reused_socket is None:
            return False
        if error is None:
            return self._abandoned or status == _REQUEST_TIMEOUT
        return not self._status_seen and error != pycurl.E_OPERATION_TIMEDOUT

    def abandon_connection(self) -> None:
        """Whatever may still come on the kept connection, it is not this answer."""
        self._abandoned = True

    def keep_connection(self, fd: int, *, multiplexed: bool) -> None:
        """The call has ended well, and its connection is open on socket ``fd``."""
        self._kept.add(self._connection, fd, multiplexed=multiplexed)

    def finish(self, status: int) -> None:
        """The answer is whole."""
        body = self._body.getvalue()
        self.settle(Reply(status, body, self.retry_after, self.location))

    def settle(self, outcome: Reply | int) -> None:
        """Tell whoever waits, if anybody still does."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)
