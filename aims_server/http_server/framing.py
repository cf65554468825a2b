"""Strict message framing, checked before any handler, and a bound on bodies that still
lets the client read its 413.
"""

from collections.abc import Awaitable
from typing import Final

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from ..web import MAX_BODY_BYTES

__all__ = ["DISCARD_BYTES", "FramingGuard"]

# A body past the bound is read and dropped up to here, because closing a connection
# with unread bytes resets it, and the answer is lost; past this it is cut.
DISCARD_BYTES: Final = 64 * 1024 * 1024


class FramingGuard(HTTPServerConnectionDelegate):
    """Passes on to the application only requests whose framing is unambiguous."""

    def __init__(self, application: HTTPServerConnectionDelegate) -> None:
        self._application = application

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Begin to read one request."""
        return _Request(self._application.start_request(server_conn, request_conn))


class _Request(HTTPMessageDelegate):
    """One request while it is being read."""

    def __init__(self, application: HTTPMessageDelegate) -> None:
        self._application = application
        self._received = 0

    def headers_received(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        if len(headers.get_list("Content-Length")) > 1:
            raise HTTPInputError("More than one Content-Length")
        if "Transfer-Encoding" in headers and start_line.version == "HTTP/1.0":
            raise HTTPInputError("Transfer-Encoding in HTTP/1.0")
        return self._application.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._received > MAX_BODY_BYTES:
            return None
        self._received += len(chunk)
        return self._application.data_received(chunk)

    def finish(self) -> None:
        self._application.finish()

    def on_connection_close(self) -> None:
        self._application.on_connection_close()
