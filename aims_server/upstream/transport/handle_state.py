"""Curl's callbacks on one handle: collects the answer to its call."""

import asyncio
import contextlib
import os
import re
import socket
import zlib
from collections.abc import Hashable
from typing import Final

import pycurl

from ...errors import FailureCause
from ...web import NAME_CHARACTERS
from .causes import cause_of
from .gzip_body import GzipBody
from .kept_connections import KeptConnections, is_acknowledged, is_silent
from .retry_after import retry_after_seconds
from .transfer import Reply, Transfer

__all__ = ["HandleState"]

# Codings that change nothing. The last two do not exist in HTTP; some programs send
# them all the same.
_NONE: Final = (b"", b"identity", b"none", b"utf-8")
_REQUEST_TIMEOUT: Final = 408  # some servers send it when they close an idle connection

# Lines of an answer's head or trailer (RFC 9110 5.5, 9112 4), and the empty line. Curl
# itself accepts control characters and any name.
_HEADER_LINES: Final = re.compile(
    rb"(?:(?:[%b]++:[\t -~\x80-\xff]*+)?+[\r\x0b\x0c]*+\n)*+" % NAME_CHARACTERS
)


class HandleState:
    r"""What has arrived so far of a handle's ``transfer``; has the callbacks for curl.

    >>> state = HandleState(1000, KeptConnections())
    >>> for line in (b"HTTP/1.1 429 \r\n", b"Retry-After: 7\r\n", b"\r\n"):
    ...     state.on_header(line)
    >>> state.on_body(b"{}")
    2
    >>> state.reply(429)
    Reply(status=429, body=b'{}', retry_after=7.0, location=None, connection=None)

    After a plain call it stays with its handle for the next one, since setting curl's
    callbacks takes 5 us.
    """

    __slots__ = (
        "_abandoned",
        "_body",
        "_head",
        "_is_headed",
        "_kept",
        "_max_body",
        "_refusal",
        "_reused_socket",
        "_room",
        "_status_seen",
        "_unpacker",
        "connection",
        "opened",
        "timer",
        "transfer",
    )

    def __init__(self, max_body: int, kept: KeptConnections) -> None:
        self._max_body = max_body
        self._kept = kept
        self.clear()

    def clear(self) -> None:
        """Forget the call; nothing of it stays for the next one."""
        self.transfer: Transfer | None = None
        self.opened: list[int] = []  # sockets; several where a host has addresses
        self.timer: asyncio.TimerHandle | None = None  # while curl minds no time
        self.connection: tuple[str | int, ...] = ()  # its ends, once it has one
        self._reused_socket: int | None = None
        self._status_seen = False
        self._head = b""
        self._is_headed = False
        self._body: list[bytes] = []
        self._room = self._max_body
        self._unpacker: GzipBody | None = None
        self._refusal = ""
        self._abandoned = False

    # Curl's callbacks. pycurl would print an exception in one to stderr, past all
    # logging. Accepting fewer bytes than offered makes the call fail cleanly.

    def on_socket(self, fd: int, _: int) -> int:
        """Curl has opened a socket for this call and will connect it."""
        if self.connection:  # a kept one, found dead
            self._kept.cut_off(self.connection)
            self.connection, self._reused_socket = (), None
        self.opened.append(fd)
        return pycurl.SOCKOPT_OK

    def on_connection(self, *addresses: str | int) -> int:
        """The request is about to be sent; the addresses name the connection."""
        self.connection = addresses
        if self.opened:
            self._kept.open(addresses, self._own_socket())
            return pycurl.PREREQFUNC_OK
        # Looked up here; it is known since its first answer began. Curl may give it to
        # the next call before it reports the end of the one before.
        fd = self._reused_socket = self._kept.socket_of(addresses)
        if fd is not None and not is_silent(fd):
            return pycurl.PREREQFUNC_ABORT
        return pycurl.PREREQFUNC_OK

    def on_header(self, line: bytes) -> int | None:
        """Collect the head; reject it if a line is malformed."""
        if line.startswith(b"HTTP/"):
            return self._on_status(line)
        if self._is_headed:  # a trailer
            return self._check(line)
        self._head += line
        if not line.isspace():
            return None
        self._is_headed = True
        return self._check(self._head)

    def _on_status(self, line: bytes) -> int | None:
        fd = self._reused_socket
        if fd is not None and not is_acknowledged(fd):
            return self._refuse("unasked")
        if self.opened and self.connection and not self._status_seen:
            multiplexed = line.startswith(b"HTTP/2")
            self._kept.add(self.connection, self._own_socket(), multiplexed=multiplexed)
        self._status_seen = True
        self._head = b""  # the earlier head was an interim answer's
        self._is_headed = False
        return None

    def _check(self, lines: bytes) -> int | None:
        if _HEADER_LINES.fullmatch(lines) is None:
            return self._refuse("malformed_header")
        return None

    def on_body(self, chunk: bytes) -> int:
        """Unpack and keep a part of the body; reject it if the body is too large."""
        first = not self._body and self._unpacker is None
        if first and (values := self._values(b"content-encoding")):
            codings = map(bytes.strip, b",".join(values).lower().split(b","))
            named = [name for name in codings if name not in _NONE]
            if named in ([b"gzip"], [b"x-gzip"]):
                self._unpacker = GzipBody()
            elif named:
                return self._refuse("unknown_encoding")
        piece = chunk
        if self._unpacker is not None:
            try:
                piece = self._unpacker.unpack(chunk, self._room)
            except zlib.error:
                return self._refuse("bad_gzip")
        self._room -= len(piece)
        if self._room < 0:
            return self._refuse("too_large")
        self._body.append(piece)
        return len(chunk)

    def _own_socket(self) -> int:
        """The opened socket that has become the connection."""
        for fd in self.opened[:-1]:
            # Some of a host's addresses may have been tried in vain.
            with (
                contextlib.suppress(OSError),
                socket.socket(fileno=os.dup(fd)) as tried,
            ):
                if tried.getsockname()[1] == self.connection[3]:
                    return fd
        return self.opened[-1]

    def _refuse(self, why: str) -> int:
        self._refusal = why
        return 0

    def _values(self, name: bytes) -> list[bytes]:
        """The values of a header, line by line."""
        if self._head.lower().find(name) < 0:
            return []  # as mostly
        values: list[bytes] = re.findall(rb"(?im)^%b:(.*)$" % name, self._head)
        return [value.strip() for value in values]

    @property
    def is_plain(self) -> bool:
        """Whether this is a GET on any connection, as most calls are: only its address
        and its headers were set on the handle.
        """
        transfer = self.transfer
        return transfer is not None and not (transfer.fresh or transfer.preconnected)

    @property
    def takes_kept(self) -> bool:
        """Whether the call has a kept connection, or will get one if there is any."""
        if self.connection:
            return self._reused_socket is not None
        return self.is_plain

    @property
    def is_sent(self) -> bool:
        """Whether the call has had a connection, and the request was sent."""
        return bool(self.connection)

    def stop_timer(self) -> None:
        """Cancel the timer, which refers to the call, after its end."""
        if self.timer is not None:
            self.timer.cancel()

    # The end of the call.

    def must_restart(self, error: int | None, status: int) -> bool:
        """Whether this end is due to the kept connection rather than the request."""
        transfer = self.transfer
        if not self.is_sent and transfer is not None and transfer.preconnected:
            return error != pycurl.E_OPERATION_TIMEDOUT
        if self._reused_socket is None:
            return False
        if error is None:
            return self._abandoned or status == _REQUEST_TIMEOUT
        return not self._status_seen and error != pycurl.E_OPERATION_TIMEDOUT

    def abandon(self, connection: Hashable) -> None:
        """If the call is on this connection, take nothing on it for the answer."""
        self._abandoned |= self.connection == connection

    def shares_connection(self, other: "HandleState") -> bool:
        """Whether both calls are on one connection of HTTP/2."""
        return self.is_sent and self.connection == other.connection

    def seconds_under_way(self, now: float) -> float:
        """The seconds for which the call has had a handle."""
        transfer = self.transfer
        assert transfer is not None
        return now - transfer.deadline + transfer.request.seconds

    def reply(self, status: int) -> Reply | FailureCause:
        """The reply, since everything announced has arrived; a failure if the head has
        not: for a connection that ends, curl takes a head's beginning for the whole.
        """
        if not self._is_headed:
            return FailureCause("dropped_before_answer")
        if self._unpacker and not self._unpacker.is_whole:
            return FailureCause("bad_gzip", "it is cut off")
        body = b"".join(self._body)
        kept = self.connection if (self._reused_socket or -1) >= 0 else None
        if 200 <= status < 300:
            return Reply(status, body, connection=kept)
        location = next(iter(self._values(b"location")), None)
        text = None if location is None else location.decode("latin-1")
        return Reply(status, body, self._retry_after(), text, kept)

    def failure(self, curl: pycurl.Curl, error: int, message: str) -> FailureCause:
        """The cause, when curl has given up by itself or because of a callback."""
        if self._refusal:
            return FailureCause(self._refusal)
        sent, answered = self.is_sent, self._status_seen
        return cause_of(curl, error, message, sent=sent, answered=answered)

    def _retry_after(self) -> float | None:
        # Each program on the way may add one; the platform's own comes first.
        texts, dates = self._values(b"retry-after"), self._values(b"date")
        return retry_after_seconds(texts[0], *dates[:1]) if texts else None
