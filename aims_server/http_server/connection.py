"""One client's connection: each request goes to the fast lane or, byte for byte, to
Tornado; and how it ends so that nothing sent is lost.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

import msgspec
from tornado.http1connection import HTTP1ConnectionParameters
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from .iostream import Stream
from .message import Message, Peer
from .write_batch import WriteBatch

__all__ = ["LINGER_SECONDS", "Connection", "Lane", "Terms"]

_log = logging.getLogger(__name__)

# Who connects means to ask something: so long a new connection is not idle.
_FIRST_REQUEST_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 1.0


class Lane(Protocol):
    """Answers at once what can be answered without waiting."""

    def answer(
        self, request: bytes, peer: str, *, last: bool
    ) -> tuple[Sequence[bytes], bool] | None:
        """The parts of the answer to one whole request, and whether the connection ends
        with it; or None: let Tornado judge it.

        ``peer`` is the socket's other end; ``last`` says that the connection is to end,
        whatever the client would like.
        """


class Terms(msgspec.Struct, frozen=True):
    """What a listener's connections have in common.

    ``arrival_seconds`` is how long a header block may take to arrive, and a kept
    connection to begin with the next one.
    """

    params: HTTP1ConnectionParameters
    lane: Lane | None
    write_batch: WriteBatch
    arrival_seconds: float


class Connection(asyncio.Protocol):
    """Serves one client, a request at a time, from its accepted socket on.

    Between requests the lane has the first look at what arrives. What it declines goes
    to Tornado's parser as it came, with all that follows until nothing of it is left.
    """

    _transport: asyncio.Transport
    _stream: Stream
    _message: Message | None = None
    _serving: "asyncio.Task[None] | None" = None
    _made = False
    _leaving = False

    def __init__(
        self,
        server: HTTPServerConnectionDelegate,
        terms: Terms,
        connected: socket.socket,
        address: Any,
    ) -> None:
        self._server = server
        self._terms = terms
        self._socket = connected
        self._peer = Peer(connected.family, address)
        now = time.monotonic()
        self._expected_until = now + _FIRST_REQUEST_SECONDS
        self._due = now + terms.arrival_seconds

    # -- what the transport calls -----------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)
        self._stream = Stream(self._transport, self._linger)
        self._made = True

    def data_received(self, data: bytes) -> None:
        """Answer a request, or let Tornado have it."""
        if self._leaving:
            return
        if self._serving is None:
            if self._answered(data):
                return
            self._serving = asyncio.create_task(self._serve())
        self._stream.feed(data)

    def eof_received(self) -> bool:
        """Answer what was asked before the end, then end too."""
        self._terms.write_batch.send()
        if self._leaving or self._serving is None:
            return False
        self._stream.feed_eof()
        if self._message is not None:
            self._message.client_left()
        return True

    def pause_writing(self) -> None:
        """The client does not read as fast as it asks."""
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        """It has read most of it."""
        self._stream.resume_writing()

    def connection_lost(self, _: Exception | None) -> None:
        """Let go of everything."""
        self._stream.lost()
        self._server.on_close(self)

    # -- what the listener asks -------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no request is under way, has begun to come, or is expected, and every
        answer is sent.
        """
        return (
            time.monotonic() > self._expected_until
            and self._serving is None
            and not self._transport.get_write_buffer_size()
            and not _waits(self._socket)
        )

    def close_after_answer(self) -> None:
        """End with the answer that is due, if one is, and say so in it."""
        if self._message is not None and self._message.arrived:
            self._message.close_after_answer()

    def close_if_overdue(self, now: float) -> None:
        """End if what should have arrived by ``now`` (monotonic seconds) has not."""
        if now < self._due or (self._message is not None and self._message.arrived):
            return
        if self._transport.get_write_buffer_size():
            self._await_request()  # the client is still reading
        else:
            self.close()

    def close(self) -> None:
        """End as soon as what was written is sent."""
        self._stream.close()

    def abort(self) -> None:
        """End now, whatever is under way."""
        if self._made:
            self._transport.abort()

    # -- a request --------------------------------------------------------

    def _answered(self, data: bytes) -> bool:
        """Whether the lane has answered all that there is."""
        terms = self._terms
        if terms.lane is None or self._stream.behind:
            return False
        answer = terms.lane.answer(
            data, self._peer.remote_ip, last=terms.params.no_keep_alive
        )
        if answer is None:
            return False
        parts, last = answer
        terms.write_batch.post(self._transport, parts)
        self._expected_until = 0.0
        self._await_request()
        if last:
            self.close()
        return True

    async def _serve(self) -> None:
        """Let Tornado read and answer all that has arrived, then return to the lane."""
        stream = self._stream
        try:
            while await self._serve_one() and not stream.closed():
                if not stream.unread and not stream.ended:
                    self._expected_until = 0.0
                    self._await_request()
                    self._serving = None
                    return
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            pass
        except Exception:  # noqa: BLE001 - one connection's end, told and shut
            _log.exception("Unexpected failure of a connection")
        finally:
            self._message = None
        stream.close()

    async def _serve_one(self) -> bool:
        """Whether the connection is kept after it."""
        self._await_request()
        message = self._message = Message(
            cast(IOStream, self._stream), False, self._terms.params, self._peer
        )
        return await message.read_response(self._server.start_request(self, message))

    def _await_request(self) -> None:
        self._due = time.monotonic() + self._terms.arrival_seconds

    # -- the end ----------------------------------------------------------

    def _linger(self) -> None:
        """Close without a reset: say so first, and let the client read and go.

        To close while something it sent is unread would reset the connection, and take
        along what was not read of the answer.
        """
        self._leaving = True
        self._terms.write_batch.send()
        transport = self._transport
        if not (self._stream.unread or _waits(self._socket)):
            transport.close()
        elif not transport.is_closing():
            transport.resume_reading()
            transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)


def _waits(connected: socket.socket) -> bool:
    """Whether something has come that the event loop has not read yet."""
    try:
        return bool(connected.recv(1, socket.MSG_PEEK))
    except OSError:
        return False  # nothing there, or a reset
