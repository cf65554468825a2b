"""The first look at a message, before any handler: strict framing, and a bound on
bodies that still lets the client read its 413.
"""

from collections.abc import Awaitable
from typing import Final, cast

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from ..requests import MAX_BODY_BYTES
from .fastlane import Connection, FastLane

__all__ = ["DISCARD_BYTES", "FrontDoor"]

# A body past the bound is read and dropped up to here, because closing a connection
# with unread bytes resets it and takes the answer along; past this it is cut.
DISCARD_BYTES: Final = 64 * 1024 * 1024


class FrontDoor(HTTPServerConnectionDelegate):
    """Passes on only what is well framed: to the fast lane what it takes, to the
    application all else.
    """

    def __init__(
        self, application: HTTPServerConnectionDelegate, lane: FastLane
    ) -> None:
        self._application = application
        self._lane = lane

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Begin to read one message."""
        return _Message(self._application, self._lane, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Pass on that a connection is gone."""
        self._application.on_close(server_conn)


class _Message(HTTPMessageDelegate):
    """One request on its way in."""

    def __init__(
        self,
        application: HTTPServerConnectionDelegate,
        lane: FastLane,
        server_conn: object,
        request_conn: HTTPConnection,
    ) -> None:
        self._application = application
        self._lane = lane
        self._server_conn = server_conn
        self._request_conn = request_conn
        self._connection = cast(Connection, request_conn)
        self._inner: HTTPMessageDelegate | None = None
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
        if self._lane.takes(start_line, headers):
            # To be answered when it is whole: an answer before that closes the
            # connection.
            self._head = (start_line, headers)
            return None
        return self._enter(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._inner is None or self._received > MAX_BODY_BYTES:
            return None
        self._received += len(chunk)
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        if self._inner is None:
            start_line, headers = self._head
            if self._lane.serve(self._connection, start_line, headers):
                return
            self._enter(start_line, headers)
        assert self._inner is not None
        self._inner.finish()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()

    def _enter(
        self, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Go the usual way, through the application."""
        self._inner = self._application.start_request(
            self._server_conn, self._request_conn
        )
        return self._inner.headers_received(start_line, headers)
