"""One client's connection: each request goes to the fast path or, byte for byte, to
Tornado; and the connection ends so that nothing written is lost.
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

__all__ = ["LINGER_SECONDS", "Connection", "ConnectionOptions", "Responder"]

_log = logging.getLogger(__name__)

# A client connects because it has a request: so long a new connection is not idle.
_FIRST_REQUEST_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 1.0


class Responder(Protocol):
    """Answers at once what can be answered without waiting: the fast path."""

    def answer(
        self, request: bytes, peer: str, *, last: bool
    ) -> tuple[Sequence[bytes], bool] | None:
        """The parts of the answer to one whole request, and whether the connection
        closes after it; or None to leave the request to Tornado.

        ``peer`` is the address of the socket's other end; ``last`` says that the
        connection closes after this answer, whatever the client asks for.
        """


class ConnectionOptions(msgspec.Struct, frozen=True):
    """What a listener's connections have in common.

    ``arrival_seconds`` is how long a header block may take to arrive, and a kept
    connection to begin its next request.
    """

    params: HTTP1ConnectionParameters
    fast_path: Responder | None
    write_batch: WriteBatch
    arrival_seconds: float


class Connection(asyncio.Protocol):
    """Serves one client, one request at a time, from its accepted socket on.

    Between requests the fast path is tried first. What it declines is fed to Tornado's
    parser unchanged, with everything after it, until the parser's buffer is empty.
    """

    _transport: asyncio.Transport
    _stream: Stream
    _message: Message | None = None
    _serving: "asyncio.Task[None] | None" = None
    _connected = False
    _closing = False

    def __init__(
        self,
        server: HTTPServerConnectionDelegate,
        options: ConnectionOptions,
        connected: socket.socket,
        address: Any,
    ) -> None:
        self._server = server
        self._options = options
        self._socket = connected
        self._peer = Peer(connected.family, address)
        now = time.monotonic()
        self._busy_until = now + _FIRST_REQUEST_SECONDS
        self._timeout_at = now + options.arrival_seconds

    # -- asyncio.Protocol -------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)
        self._stream = Stream(self._transport, self._close_lingering)
        self._connected = True

    def data_received(self, data: bytes) -> None:
        """Try the fast path, else feed Tornado's parser."""
        if self._closing:
            return
        if self._serving is None:
            if self._answer_fast(data):
                return
            self._serving = asyncio.create_task(self._serve())
        self._stream.feed(data)

    def eof_received(self) -> bool:
        """Answer the requests received before a half-close, then close."""
        self._options.write_batch.flush()
        if self._closing or self._serving is None:
            return False
        self._stream.feed_eof()
        if self._message is not None:
            self._message.client_half_closed()
        return True

    def pause_writing(self) -> None:
        """Let the stream's writers wait."""
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        """Let the stream's writers go on."""
        self._stream.resume_writing()

    def connection_lost(self, _: Exception | None) -> None:
        """Fail what waits on the stream, and tell the listener."""
        self._stream.connection_lost()
        self._server.on_close(self)

    # -- for the listener -------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no request is being served, arriving or expected, and every answer
        is sent.
        """
        return (
            time.monotonic() > self._busy_until
            and self._serving is None
            and not self._transport.get_write_buffer_size()
            and not _has_unread(self._socket)
        )

    def close_after_answer(self) -> None:
        """End with the answer that is due, if one is, and say so in it."""
        if self._message is not None and self._message.head_received:
            self._message.close_after_answer()

    def close_if_timed_out(self, now: float) -> None:
        """Close if a request should have arrived by ``now`` (monotonic seconds)."""
        if now < self._timeout_at or (
            self._message is not None and self._message.head_received
        ):
            return
        if self._transport.get_write_buffer_size():
            self._await_request()  # the client is still reading
        else:
            self.close()

    def close(self) -> None:
        """Close once everything that was written is sent."""
        self._stream.close()

    def abort(self) -> None:
        """Close now, whatever is being served."""
        if self._connected:
            self._transport.abort()

    # -- one request ------------------------------------------------------

    def _answer_fast(self, data: bytes) -> bool:
        """Whether the fast path has answered ``data`` as one whole request."""
        options = self._options
        if options.fast_path is None or self._stream.writing_paused:
            return False
        answer = options.fast_path.answer(
            data, self._peer.remote_ip, last=options.params.no_keep_alive
        )
        if answer is None:
            return False
        parts, last = answer
        options.write_batch.add(self._transport, parts)
        self._busy_until = 0.0
        self._await_request()
        if last:
            self.close()
        return True

    async def _serve(self) -> None:
        """Let Tornado read and answer all that has arrived."""
        stream = self._stream
        try:
            while await self._serve_one() and not stream.closed():
                if not stream.unread and not stream.at_eof:
                    self._busy_until = 0.0
                    self._await_request()
                    self._serving = None
                    return
        except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
            pass
        except Exception:  # noqa: BLE001 - ends one connection, logged; serve the others
            _log.exception("Unexpected failure of a connection")
        finally:
            self._message = None
        stream.close()

    async def _serve_one(self) -> bool:
        """Serve one request; whether the connection is kept after it."""
        self._await_request()
        message = self._message = Message(
            cast(IOStream, self._stream), False, self._options.params, self._peer
        )
        return await message.read_response(self._server.start_request(self, message))

    def _await_request(self) -> None:
        self._timeout_at = time.monotonic() + self._options.arrival_seconds

    # -- the end ----------------------------------------------------------

    def _close_lingering(self) -> None:
        """Close without a reset: send FIN, then read on until the client closes.

        To close a socket with unread bytes resets the connection, and the client loses
        what it had not read of the answer (nginx calls this a lingering close).
        """
        self._closing = True
        self._options.write_batch.flush()
        transport = self._transport
        if not (self._stream.unread or _has_unread(self._socket)):
            transport.close()
        elif not transport.is_closing():
            transport.resume_reading()
            transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)


def _has_unread(connected: socket.socket) -> bool:
    """Whether the kernel holds bytes that the event loop has not read yet."""
    try:
        return bool(connected.recv(1, socket.MSG_PEEK))
    except OSError:
        return False  # nothing there, or a reset
