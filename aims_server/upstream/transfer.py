"""One call on a curl handle: what is asked, and what has come of its answer so far."""

import asyncio
import contextlib
import os
import re
import socket
import zlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import msgspec
import pycurl

from ..errors import FailureCause
from .causes import cause_of
from .gzip_body import GzipBody
from .kept_connections import KeptConnections, is_acknowledged, is_silent
from .retry_after import retry_after_seconds

__all__ = ["CurlFailure", "Reply", "Request", "Transfer"]

_NONE: Final = (b"", b"identity")  # codings that change nothing
_REQUEST_TIMEOUT: Final = 408  # a server's word when it closes an idle connection

# A line of an answer's head or trailer (RFC 9110 5.5, 9112 4), or the empty one. Curl
# itself takes control characters and any name.
_HEADER_LINE: Final = re.compile(
    rb"(?P<status>HTTP/.*)"
    rb"|(?i:(?P<name>Retry-After|Date|Location|Content-Encoding))"
    rb":(?P<value>[\t -~\x80-\xff]*)"
    rb"|[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*"
    rb"|",
    re.DOTALL,
)


class Request(msgspec.Struct, frozen=True):
    """One call: a POST if there is a body. ``seconds`` count from when it gets a
    handle, ``connect_seconds`` are those of them until a connection must be there. It
    shares none that carries another call if it is to be ``apart``, and uses none that
    was there before if it is to be ``fresh``.
    """

    url: str
    headers: dict[str, str]
    body: bytes | None
    seconds: float
    connect_seconds: float
    apart: bool = False
    fresh: bool = False

    def __repr__(self) -> str:
        return "<Request>"  # url, headers and body are a student's, or secret


@dataclass(frozen=True, slots=True)
class Reply:
    """What the platform answered, whatever its status; ``retry_after`` in seconds.

    ``connection`` is the one of HTTP/1.1 that had served another call before, if it
    came on such a one: only then may it be the answer to another request.
    """

    status: int
    body: bytes
    retry_after: float | None = None
    location: str | None = None
    connection: Hashable = field(default=None, compare=False, repr=False)


class CurlFailure(msgspec.Struct, frozen=True):
    """The number of curl's error (libcurl-errors(3)), and what it is due to."""

    error: int
    cause: FailureCause


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
        "_headers",
        "_kept",
        "_max_body",
        "_refusal",
        "_reused_socket",
        "_status_seen",
        "_unpacker",
        "deadline",
        "fresh",
        "header_lines",
        "opened",
        "outcome",
        "preconnected",
        "request",
    )

    def __init__(
        self,
        request: Request,
        outcome: "asyncio.Future[Reply | CurlFailure]",
        max_body: int,
        kept: KeptConnections,
    ) -> None:
        self.request = request
        self.header_lines = _header_lines(request)
        self.outcome = outcome
        self.fresh = request.fresh or request.body is not None
        self.deadline = 0.0  # of the loop's clock, once it has a handle
        self.preconnected = False
        self._max_body = max_body
        self._kept = kept
        self._clear()

    def restart(self) -> None:
        """Begin anew, on a new connection."""
        self._kept.abandon(self._connection)
        self.fresh = True
        self.preconnected = False
        self._clear()

    def _clear(self) -> None:
        self._body = BytesIO()
        self._headers: dict[bytes, bytes] = {}
        self._unpacker: GzipBody | None = None
        self._refusal = ""
        self._abandoned = False
        self.opened: list[int] = []  # sockets; several where a host has addresses
        self._connection: tuple[str | int, ...] = ()
        self._reused_socket: int | None = None
        self._status_seen = False

    # Curl's callbacks. An exception in one would be printed to stderr by pycurl, past
    # any logging; taking less than what was offered fails the call as cleanly.

    def on_socket(self, fd: int, _: int) -> int:
        """Curl opens a socket for this call, and connects it."""
        self.opened.append(fd)
        return pycurl.SOCKOPT_OK

    def on_connection(self, *addresses: str | int) -> int:
        """The request is about to be sent; the addresses name the connection."""
        self._connection = addresses
        # Looked up now, and known since its first answer began: curl may give it to
        # the next call before it has told that the one before has ended.
        fd = None if self.opened else self._kept.socket_of(addresses)
        self._reused_socket = fd
        if fd is not None and not is_silent(fd):
            return pycurl.PREREQFUNC_ABORT
        return pycurl.PREREQFUNC_OK

    def on_header(self, line: bytes) -> int | None:
        """Look at one line of the head: none of it is taken if it is malformed."""
        match = _HEADER_LINE.fullmatch(line.rstrip())
        if match is None:
            return self._refuse("malformed_header")
        if match.lastgroup == "status":
            fd = self._reused_socket
            if fd is not None and not is_acknowledged(fd):
                return self._refuse("unasked")
            if self.opened and self._connection and not self._status_seen:
                multiplexed = line.startswith(b"HTTP/2")
                self._kept.add(
                    self._connection, self._own_socket(), multiplexed=multiplexed
                )
            self._status_seen = True
            self._headers = {}  # what was there is an interim answer's
        elif match.lastgroup == "value":
            name, value = match["name"].lower(), match["value"].strip()
            before = self._headers.get(name)
            self._headers[name] = value if before is None else before + b", " + value
        return None

    def on_body(self, chunk: bytes) -> int:
        """Unpack and keep a part of the body; none of it if it becomes too large."""
        room = self._max_body - self._body.tell()
        if not self._body.tell() and self._unpacker is None:
            codings = self._headers.get(b"content-encoding", b"").lower().split(b",")
            named = [name for name in map(bytes.strip, codings) if name not in _NONE]
            if named in ([b"gzip"], [b"x-gzip"]):
                self._unpacker = GzipBody()
            elif named:
                return self._refuse("unknown_encoding")
        piece = chunk
        if self._unpacker is not None:
            try:
                piece = self._unpacker.unpack(chunk, room)
            except zlib.error:
                return self._refuse("bad_gzip")
        if len(piece) > room:
            return self._refuse("too_large")
        self._body.write(piece)
        return len(chunk)

    def _own_socket(self) -> int:
        """That of the opened sockets which has become the connection."""
        for fd in self.opened[:-1]:
            # Of a host's addresses, some may have been tried in vain.
            with (
                contextlib.suppress(OSError),
                socket.socket(fileno=os.dup(fd)) as tried,
            ):
                if tried.getsockname()[1] == self._connection[3]:
                    return fd
        return self.opened[-1]

    def _refuse(self, why: str) -> int:
        self._refusal = why
        return 0

    @property
    def takes_kept(self) -> bool:
        """Whether it has a kept connection, or will get one if there is any."""
        if self._connection:
            return self._reused_socket is not None
        return not (self.fresh or self.preconnected)

    @property
    def is_sent(self) -> bool:
        """Whether it has had a connection, and the request has gone out."""
        return bool(self._connection)

    # What comes of it.

    def must_restart(self, error: int | None, status: int) -> bool:
        """Whether this end speaks of the kept connection rather than of the request."""
        if self.preconnected and not self.is_sent:
            return error != pycurl.E_OPERATION_TIMEDOUT
        if self._reused_socket is None:
            return False
        if error is None:
            return self._abandoned or status == _REQUEST_TIMEOUT
        return not self._status_seen and error != pycurl.E_OPERATION_TIMEDOUT

    def abandon(self, connection: Hashable) -> None:
        """If this is on that connection, what comes on it is not the answer."""
        self._abandoned |= self._connection == connection

    def on_close(self) -> None:
        """Curl has closed the connection with the end of the call."""
        self._kept.abandon(self._connection)

    def finish(self, status: int) -> None:
        """All has come that was announced."""
        if self._unpacker and not self._unpacker.is_whole:
            cause = FailureCause("bad_gzip", "it is cut off")
            self.settle(CurlFailure(pycurl.E_BAD_CONTENT_ENCODING, cause))
            return
        location = self._headers.get(b"location")
        reply = Reply(
            status,
            self._body.getvalue(),
            self._retry_after(),
            None if location is None else location.decode("latin-1"),
            self._connection if (self._reused_socket or -1) >= 0 else None,
        )
        self.settle(reply)

    def fail(self, curl: pycurl.Curl, error: int, message: str) -> None:
        """Curl has given up, for reasons of its own or because of a callback."""
        if self._refusal:
            cause = FailureCause(self._refusal)
        else:
            sent, answered = self.is_sent, self._status_seen
            cause = cause_of(curl, error, message, sent=sent, answered=answered)
        self.settle(CurlFailure(error, cause))

    def _retry_after(self) -> float | None:
        text = self._headers.get(b"retry-after")
        if text is None:
            return None
        return retry_after_seconds(text, self._headers.get(b"date"))

    def settle(self, outcome: Reply | CurlFailure) -> None:
        """Complete the waiting call, unless it was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def _header_lines(request: Request) -> list[bytes]:
    """A request's headers as curl takes them; raises ValueError for what is none."""
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ValueError(f"a line break in the header {line.partition(':')[0]!r}")
    lines.append("Accept-Encoding: gzip")  # unpacked by us: see `gzip_body`
    if request.body is not None:
        lines.append("Expect:")  # no asking whether a large body may be sent
    return [line.encode("latin-1") for line in lines]
