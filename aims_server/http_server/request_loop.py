"""The task that answers a connection's requests with Tornado, one after the other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

from ..errors import ApiError, HeadTooLarge, TargetTooLong, TooLarge
from ..web import SimpleRequest, parse_simple_request
from .closing import Timeouts
from .iostream import Stream
from .message import MAX_TARGET_BYTES, Message
from .options import ConnectionOptions
from .peer import Peer

__all__ = ["RequestLoop"]

_log = logging.getLogger(__name__)


class RequestLoop:
    """Serves the requests on a stream until all are answered.

    A simple request goes to Tornado as it was parsed. Any other goes through Tornado's
    parser, with everything after it, until the parser's buffer is empty.
    """

    __slots__ = (
        "_message",
        "_options",
        "_peer",
        "_stream",
        "_task",
        "_timeouts",
    )

    def __init__(
        self,
        options: ConnectionOptions,
        peer: Peer,
        stream: Stream,
        timeouts: Timeouts,
    ) -> None:
        self._options = options
        self._peer = peer
        self._stream = stream
        self._timeouts = timeouts
        self._task: asyncio.Task[None] | None = None
        self._message: Message | None = None

    @property
    def running(self) -> bool:
        """Whether a request is being answered, or a part of its head has arrived."""
        return self._task is not None

    @property
    def request_received(self) -> bool:
        """Whether the request that Tornado answers has arrived whole."""
        return self._message is not None and self._message.received

    def serve(self, request: SimpleRequest | None = None) -> None:
        """Begin with this request, or with the next one on the stream."""
        self.serve_after(partial(self._serve_one, request))

    def serve_after(self, first: Callable[[], Awaitable[bool]]) -> None:
        """Begin by awaiting ``first``, which answers a request and returns whether the
        connection stays open.
        """
        self._task = asyncio.create_task(self._run(first))

    def close_after_answer(self) -> None:
        """End with the answer that is due, if one is, and say so in it."""
        if self._message is not None and self._message.head_received:
            self._message.close_after_answer()

    def client_half_closed(self) -> None:
        """Tell the handler that the client has sent its last byte."""
        if self._message is not None:
            self._message.client_half_closed()

    def connection_lost(self) -> None:
        """Drop the references to the task, which ends by itself, and to its message."""
        self._task = self._message = None

    async def _run(self, first: Callable[[], Awaitable[bool]]) -> None:
        stream = self._stream
        try:
            kept = await first()
            while kept and not stream.closed():
                if not stream.reads and not stream.reads.at_eof:
                    self._timeouts.request_answered()
                    return
                self._options.write_batch.flush()  # so that a pause is known
                kept = await self._serve_one(self._take_simple())
        except (StreamClosedError, asyncio.CancelledError):
            pass
        except UnsatisfiableReadError:
            self._reject()
        except TooLarge as failure:
            self._reject(failure)
        except Exception:  # noqa: BLE001 - ends one connection, logged; serve the others
            _log.exception("Unexpected failure of a connection")
        finally:
            self._task = self._message = None
        stream.close()

    def _take_simple(self) -> SimpleRequest | None:
        """The simple request that has arrived meanwhile, if it is one."""
        reads = self._stream.reads
        if self._options.fast_path is None or reads.at_eof:
            return None
        received = reads.take_all()
        request = parse_simple_request(received)
        if request is None:
            reads.put_back(received)
        return request

    async def _serve_one(self, request: SimpleRequest | None) -> bool:
        """Serve one request, by default the next one on the stream; return whether the
        connection stays open.

        No request is served while writing is paused. The fast path has the same rule,
        so the transport holds at most 192 KiB for a client (see `WriteQueue`).
        """
        await self._stream.writes.writable()
        self._timeouts.await_request()
        message = self._message = Message(
            cast(IOStream, self._stream), False, self._options.params, self._peer
        )
        delegate = self._options.application.start_request(self, message)
        if request is None:
            return await message.read_response(delegate)
        await message.serve_parsed(delegate, request)
        return True

    def _reject(self, failure: ApiError | None = None) -> None:
        """Answer a request whose head cannot be parsed, or that never ends."""
        received = self._stream.reads.take_all().lstrip(b"\r\n")
        if failure is None:
            long_target = b"\n" not in received[:MAX_TARGET_BYTES]
            failure = TargetTooLong() if long_target else HeadTooLarge()
        answer = self._options.reject(failure, self._peer.remote_ip, received)
        if received.startswith(b"HEAD "):
            answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self._stream.writes.write(answer)
