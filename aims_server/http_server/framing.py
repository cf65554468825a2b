"""Checks and normalises a request's head before a handler sees it: framing, target,
expectations, and the size of the body.
"""

import re
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

from ..web import MAX_BODY_BYTES
from .message import OVERSIZED, Message

__all__ = ["FramingGuard"]

# Every host of RFC 3986 3.2.2, with an optional port of at most five digits: Tornado
# makes a number of it, which fails for 4301 digits.
_HOST: Final = (
    r"(?:\[[0-9A-Za-z:.%_~-]+\]"
    r"|(?:[0-9A-Za-z._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?"
)
_ABSOLUTE: Final = rf"(?i:https?)://(?=[^:/?])(?:{_HOST})([/?].*)?"


class FramingGuard(HTTPServerConnectionDelegate):
    """Passes only requests with unambiguous framing on to the application."""

    def __init__(self, application: HTTPServerConnectionDelegate) -> None:
        self._application = application

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Begin to read one request."""
        return _Request(
            self._application.start_request(server_conn, request_conn),
            cast(Message, request_conn),
        )


class _Request(HTTPMessageDelegate):
    """One request while it is being read."""

    def __init__(self, application: HTTPMessageDelegate, message: Message) -> None:
        self._application = application
        self._message = message

    def headers_received(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        if "," in headers.get("Content-Length", ""):  # in one line or several
            raise HTTPInputError("More than one Content-Length")
        if "Transfer-Encoding" in headers and (
            start_line.version == "HTTP/1.0" or "Content-Length" in headers
        ):
            raise HTTPInputError("Transfer-Encoding in HTTP/1.0, or beside a length")
        if not re.fullmatch(_HOST, headers.get("Host", "")):
            raise HTTPInputError("Invalid Host header")
        start_line = start_line._replace(path=_path(start_line))
        accepted = self._application.headers_received(start_line, headers)
        self._prepare_body(start_line, headers)
        return accepted

    def _prepare_body(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        """Ask for the body if the client waits for that, or refuse to read it.

        Tornado knows only one spelling of "100-continue", answers it to HTTP/1.0 too,
        and asks for bodies that are then refused.
        """
        waits = start_line.version != "HTTP/1.0" and _expects_continue(headers)
        headers.pop("Expect", None)
        length = headers.get("Content-Length", "").lstrip("0")
        if length.isdecimal() and (len(length) > 18 or int(length) > MAX_BODY_BYTES):
            del headers["Content-Length"]  # so that Tornado reads no body
            self._message.close_after_answer()
            self._application.data_received(OVERSIZED)
        elif waits and (length or "Transfer-Encoding" in headers):
            self._message.send_continue()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._application.data_received(chunk)

    def finish(self) -> None:
        self._application.finish()

    def on_connection_close(self) -> None:
        self._application.on_connection_close()


def _path(start_line: RequestStartLine) -> str:
    """The target in origin form (RFC 9112 3.2): path and query of an absolute form, or
    "*" for OPTIONS. The application answers CONNECT's target with 404.
    """
    method, target, _ = start_line
    if target.startswith("/") or method == "CONNECT":
        return target
    if target == "*" and method == "OPTIONS":
        return target
    absolute = re.fullmatch(_ABSOLUTE, target)
    if absolute is None:
        raise HTTPInputError("The request's target has none of the known forms")
    rest = absolute[1] or ""
    if not rest and method == "OPTIONS":
        return "*"
    return rest if rest.startswith("/") else f"/{rest}"


def _expects_continue(headers: HTTPHeaders) -> bool:
    members = ",".join(headers.get_list("Expect")).split(",")
    return any(member.strip().lower() == "100-continue" for member in members)
