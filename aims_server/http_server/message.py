"""One request and its answer: Tornado's connection, with what RFC 9112 demands beyond
it: line ends, connection options, chunked bodies.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    ParseUrlEncodedConfig,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import UnsatisfiableReadError

from ..errors import HeadTooLarge, TargetTooLong, TooLarge
from ..web import (
    MAX_BODY_BYTES,
    MAX_HEAD_LINES,
    MAX_NAME_BYTES,
    NAME_CHARACTERS,
    SimpleRequest,
)
from .iostream import Stream
from .write_queue import PIECE_BYTES

__all__ = ["MAX_TARGET_BYTES", "OVERSIZED", "Message"]

MAX_TARGET_BYTES: Final = 8 * 1024
# Given to the application in place of a body above the bound, which is not read to its
# end; it answers 413.
OVERSIZED: Final = bytes(MAX_BODY_BYTES + 1)
# With more, Tornado answers a bare 400 that is neither logged nor counted.
_MAX_QUERY_FIELDS: Final = ParseUrlEncodedConfig().max_arguments
_MAX_CHUNK_LINE_BYTES: Final = 1024
_LINES_PER_TURN: Final = 64  # of some 10 us each; then other connections have a turn
_BARE_CR_OR_LF: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_LONG_NAME: Final = rb"(?m)^[%b]{%d}" % (NAME_CHARACTERS, MAX_NAME_BYTES + 1)
# Read as the highest version that is known (RFC 9110 2.5).
_LATER_VERSION: Final = r"HTTP/1\.[2-9]\Z"
# The size, and extensions, which are ignored (RFC 9112 7.1).
_CHUNK_LINE: Final = rb"([0-9A-Fa-f]{1,16})(?:[\t ]*;[\t -~\x80-\xff]*)?\r\n"
_TRAILER_LINE: Final = rb"(?:[%b]+:[\t -~\x80-\xff]*)?\r\n" % NAME_CHARACTERS


class Message(HTTP1Connection):
    """One request and its answer; the lines of the head must end in CRLF."""

    head_received = False
    _chunk_lines = 0

    @property
    def received(self) -> bool:
        """Whether the whole request has arrived, with its body."""
        return self._read_finished

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        self.head_received = True
        if _BARE_CR_OR_LF.search(data):
            # A proxy that splits lines differently would see other requests than we do.
            raise HTTPInputError("Bare CR or LF in a head")
        if data.count(b"\n") > MAX_HEAD_LINES or re.search(_LONG_NAME, data):
            raise self._unread(data, HeadTooLarge())
        start_line, headers = super()._parse_headers(data)
        _, _, target = start_line.partition(" ")
        if (
            len(target) - len(" HTTP/1.1") > MAX_TARGET_BYTES
            or target.count("&") >= _MAX_QUERY_FIELDS
        ):
            raise self._unread(data, TargetTooLong())
        return re.sub(_LATER_VERSION, "HTTP/1.1", start_line), headers

    def _unread(self, data: bytes, failure: TooLarge) -> TooLarge:
        """The failure; the head is put back for whoever answers it."""
        cast(Stream, self.stream).reads.put_back(data)
        return failure

    def send_continue(self) -> None:
        """Tell the client to send the body (100 Continue)."""
        self.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _read_chunked_body(self, delegate: HTTPMessageDelegate) -> None:
        """Read a chunked body, with extensions and trailers, which Tornado refuses."""
        total = 0
        while size := await self._chunk_size():
            total += size
            if total > MAX_BODY_BYTES:
                self.close_after_answer()
                await self._deliver_body(delegate, OVERSIZED)
                return
            while size:
                piece = await self.stream.read_bytes(
                    min(size, self.params.chunk_size), partial=True
                )
                size -= len(piece)
                await self._deliver_body(delegate, piece)
            if await self.stream.read_bytes(2) != b"\r\n":
                raise HTTPInputError("A chunk does not end where it should")
        trailers = self.params.max_header_size
        while (line := await self._line(_TRAILER_LINE, trailers)) != b"\r\n":
            trailers -= len(line)

    async def _chunk_size(self) -> int:
        line = await self._line(_CHUNK_LINE, _MAX_CHUNK_LINE_BYTES)
        return int(line[:-2].partition(b";")[0], 16)

    async def _line(self, form: bytes, max_bytes: int) -> bytes:
        self._chunk_lines += 1
        if self._chunk_lines % _LINES_PER_TURN == 0:
            await asyncio.sleep(0)
        try:
            line = await self.stream.read_until_regex(b"\r\n", max_bytes)
        except UnsatisfiableReadError:
            line = b""
        if not re.fullmatch(form, line):
            raise HTTPInputError("A line of the chunked body is malformed")
        return line

    async def serve_parsed(
        self, delegate: HTTPMessageDelegate, request: SimpleRequest
    ) -> None:
        """Serve a simple request, which is parsed already.

        Does what Tornado does after its parser, which takes a tenth of the time of a
        page that is not kept.
        """
        method, path, fields, body = request
        headers = HTTPHeaders(fields)
        start_line = RequestStartLine(method, path, "HTTP/1.1")
        self._request_start_line, self._request_headers = start_line, headers
        self._disconnect_on_finish = not self._can_keep_alive(start_line, headers)
        self.head_received = self._read_finished = True
        delegate.headers_received(start_line, headers)
        if body:
            delegate.data_received(body)
        delegate.finish()
        if not (self._finish_future.done() or self.stream.closed()):
            self.stream.set_close_callback(self._on_connection_close)
            await self._finish_future
        self._clear_callbacks()

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "asyncio.Future[None]":
        """Begin the answer; write a large body separately, as Tornado would copy it."""
        if self._ends_with_connection(cast(ResponseStartLine, start_line), headers):
            self.close_after_answer()
        if self._disconnect_on_finish:
            # Tornado tells it to clients of HTTP/1.1 alone; and those of HTTP/1.0 that
            # asked to be kept, that they are.
            assert self._request_headers is not None
            headers["Connection"] = self._request_headers["Connection"] = "close"
        if chunk is None or len(chunk) <= PIECE_BYTES:
            return super().write_headers(start_line, headers, chunk)
        super().write_headers(start_line, headers)
        return self.write(chunk)

    def _ends_with_connection(
        self, start_line: ResponseStartLine, headers: HTTPHeaders
    ) -> bool:
        """Whether only closing ends the answer (RFC 9112 6.3): it has no length, and
        the client reads no chunks.
        """
        request = self._request_start_line
        return (
            isinstance(request, RequestStartLine)
            and request.version != "HTTP/1.1"
            and start_line.code not in (204, 304)
            and "Content-Length" not in headers
        )

    def close_after_answer(self) -> None:
        """Close the connection after this answer, unless its head is written."""
        if self._response_start_line is None and not self._write_finished:
            self._disconnect_on_finish = True  # Tornado's own flag

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call this once when the client has sent its last byte or is gone, in the next
        turn of the loop if it already has: Tornado tells only of what is yet to come.
        """
        if callback is not None and cast(Stream, self.stream).reads.at_eof:
            asyncio.get_running_loop().call_soon(callback)
            callback = None
        super().set_close_callback(callback)

    def client_half_closed(self) -> None:
        """Tell the handler, which may stop working. Its answer is sent all the same."""
        callback, self._close_callback = self._close_callback, None
        if callback is not None:
            callback()

    def _can_keep_alive(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> bool:
        """Whether the connection stays open after this request, by every member of its
        ``Connection`` (RFC 9112 9.3). Tornado reads a list as one option.
        """
        members = ",".join(headers.get_list("Connection")).lower().split(",")
        options = {member.strip(" \t") for member in members}
        kept = (
            not self.params.no_keep_alive
            and "close" not in options
            and (start_line.version != "HTTP/1.0" or "keep-alive" in options)
        )
        if kept and start_line.version == "HTTP/1.0":
            headers["Connection"] = "keep-alive"  # as Tornado reads it, to say so
        return kept
