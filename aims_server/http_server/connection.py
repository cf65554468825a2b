"""One client's connection: each request goes to the fast path or to Tornado."""

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from ..web import (
    NAME_CHARACTERS,
    AnswerParts,
    SimpleRequest,
    parse_simple_request,
)
from .closing import Timeouts, close_lingering, has_unread
from .iostream import Stream
from .options import ConnectionOptions, PendingParts
from .peer import Peer
from .request_loop import RequestLoop
from .write_queue import PIECE_BYTES

__all__ = ["Connection"]

_log = logging.getLogger(__name__)

# The first byte of a method, or of an empty line before it. Anything else, such as a
# TLS handshake, is refused at once: the parser would wait for the end of its head,
# which may never come.
_BEGINNING: Final = rb"[\r\n%b]" % NAME_CHARACTERS
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"  # as Tornado answers


class Connection(asyncio.Protocol):
    """Serves one client on its accepted socket, one request at a time.

    A simple request that arrives between others is tried on the fast path. All other
    requests, and those that the fast path declines, go to the `RequestLoop`. What
    arrives while an answer is made is kept for later.
    """

    _transport: asyncio.Transport
    _stream: Stream
    _requests: RequestLoop
    _pending: PendingParts | None = None
    _connected = False
    _half_closed = False

    def __init__(
        self,
        options: ConnectionOptions,
        connected: socket.socket,
        peer: Peer,
        on_closed: "Callable[[Connection], object]",
    ) -> None:
        """``on_closed`` is called when the connection is lost."""
        self._options = options
        self._socket = connected
        self.peer = peer
        self._on_closed = on_closed
        self._timeouts = Timeouts(options.arrival_seconds, options.clock)

    # -- asyncio.Protocol -------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)
        self._stream = Stream(
            self._transport, self._options.write_batch, self._close_transport
        )
        self._requests = RequestLoop(
            self._options, self.peer, self._stream, self._timeouts
        )
        self._connected = True

    def data_received(self, data: bytes) -> None:
        """Try the fast path, else let Tornado serve the request."""
        if self._stream.closing:
            self._timeouts.more_expected()
            return
        if self._requests.running:
            self._stream.reads.feed(data)
            return
        request = parse_simple_request(data) if self._options.fast_path else None
        answer = None if request is None else self._fast_answer(request)
        if request is None:
            if re.match(_BEGINNING, data):
                self._requests.serve()
                self._stream.reads.feed(data)
            else:
                self._requests.serve_after(self._refuse)
        elif answer is None:
            self._requests.serve(request)
        elif isinstance(answer, tuple):
            if self._write_answer(answer):
                self._timeouts.request_answered()
            else:
                self._stream.close()
        else:
            self._pending = answer
            self._requests.serve_after(partial(self._make_answer, answer))

    def eof_received(self) -> bool:
        """Answer the requests received before a half-close, then close."""
        self._options.write_batch.flush()
        self._half_closed = True
        if self._stream.closing or not self._requests.running:
            self._stream.close()
            return bool(self._stream.writes)
        self._stream.reads.feed_eof()
        self._requests.client_half_closed()
        if self._pending is not None:
            self._pending.client_left()
        return True

    def pause_writing(self) -> None:
        """Let the stream's writers wait."""
        self._stream.writes.pause()

    def resume_writing(self) -> None:
        """Let the stream's writers go on."""
        self._stream.writes.resume()

    def connection_lost(self, _: Exception | None) -> None:
        """Fail all reads and writes that wait, and tell the listener."""
        self._connected = False
        self._on_closed(self)
        self._stream.connection_lost()
        if self._pending is not None:
            self._pending.client_left()
        # Reference cycles, which would stay until the collector's next full run.
        self._requests.connection_lost()
        del self._stream, self._transport, self._requests

    # -- for the listener -------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether all is sent, and no request is served, arriving or expected."""
        return self.awaits_client and not self._requests.running

    @property
    def awaits_client(self) -> bool:
        """Whether all is sent and the connection has waited for more than a moment: for
        a request, for the rest of one, or for the client to close after the last
        answer.
        """
        return (
            self._connected
            and not self._timeouts.active()
            and not self._answering
            and not self._transport.get_write_buffer_size()
            and (self._timeouts.lingered() or not has_unread(self._socket))
        )

    def close_after_answer(self) -> None:
        """End with the answer that is due, if one is, and say so in it."""
        if self._connected:
            self._requests.close_after_answer()

    def close_if_timed_out(self, now: float) -> None:
        """Close if a time-out of the client has passed at ``now``."""
        if not self._connected:
            return
        timeouts = self._timeouts
        unsent = self._transport.get_write_buffer_size()
        if unsent or self._stream.writes:
            if timeouts.answer_stalled(now, self._stream.writes.given - unsent):
                self.abort()
        elif self._stream.closing:
            if timeouts.linger_over(now):
                self.abort()
        elif timeouts.request_overdue(now) and not (self._answering or self._asking):
            self.close()

    @property
    def _answering(self) -> bool:
        """Whether a whole request is being answered, or its answer written."""
        return (
            self._pending is not None
            or self._requests.request_received
            or bool(self._stream.writes)
        )

    @property
    def _asking(self) -> bool:
        """Whether a request has begun to arrive that the event loop has not read yet,
        since it may run its timers first.
        """
        return not self._requests.running and has_unread(self._socket)

    def close(self) -> None:
        """Close now; for a client that waits for no answer."""
        self._stream.connection_lost()
        self._transport.close()

    def abort(self) -> None:
        """Close now, even while a request is served."""
        if self._connected:
            self._transport.abort()

    # -- answers without Tornado --------------------------------------------

    def _fast_answer(self, request: SimpleRequest) -> AnswerParts | PendingParts | None:
        options = self._options
        if options.fast_path is None or self._stream.writes.paused:
            return None
        return options.fast_path.answer(
            request, self.peer.remote_ip, params=options.params
        )

    def _write_answer(self, answer: AnswerParts) -> bool:
        """Write an answer of the fast path; whether the connection stays open."""
        parts, last = answer
        size = sum(map(len, parts))
        if size > PIECE_BYTES:
            for part in parts:
                self._stream.write(part)
        else:
            self._stream.writes.given += size
            self._options.write_batch.add(self._transport, parts)
        return not last

    async def _make_answer(self, pending: PendingParts) -> bool:
        """Wait for an answer of the fast path, and write it."""
        answer = await pending.make()
        self._pending = None
        return self._connected and self._write_answer(answer)

    async def _refuse(self) -> bool:
        """Answer bytes that begin no request; the connection closes after it."""
        _log.info("Malformed HTTP message from %s: no method", self.peer)
        await self._stream.write(_BAD_REQUEST)
        return False

    def _close_transport(self) -> None:
        """Close after the last answer, but not before the client does: it may be
        sending the rest of its request, or the next one.
        """
        self._options.write_batch.flush()
        self._timeouts.more_expected()
        if self._half_closed:
            self._transport.close()
        else:
            close_lingering(self._transport)
