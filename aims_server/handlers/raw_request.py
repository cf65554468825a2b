"""A simple request, with what every answer to it needs."""

import time

import msgspec
from tornado.http1connection import HTTP1ConnectionParameters

from ..web import (
    Answer,
    SimpleRequest,
    TokenRequest,
    Variant,
    bearer_token,
    checked_body_token,
    json_object,
    negotiate,
)

__all__ = ["RawRequest"]


class RawRequest(msgspec.Struct, frozen=True):
    """One request of the fast path. ``began`` is by ``time.perf_counter``; ``params``
    say whether the connection may stay open.
    """

    began: float
    request: SimpleRequest
    address: str
    request_id: str
    params: HTTP1ConnectionParameters

    def seconds(self) -> float:
        """Seconds since the request was read."""
        return time.perf_counter() - self.began

    @property
    def last(self) -> bool:
        """Whether the connection closes after the answer, as things stand now."""
        return self.params.no_keep_alive or self.request[2].get("connection") == "close"

    @property
    def accept_encoding(self) -> str | None:
        """The header ``Accept-Encoding``."""
        return self.request[2].get("accept-encoding")

    def negotiated(self, answer: Answer) -> tuple[int, Variant]:
        """The status, and the form of ``answer`` that this request gets."""
        method, _, headers, _ = self.request
        return negotiate(
            answer,
            method,
            self.accept_encoding,
            headers.get("if-none-match"),
        )

    def token(self) -> str:
        """The token, read as a page's handler reads it.

        Raises :class:`ApiError` for a token or a body that cannot be read. A simple
        request's body is never too large or compressed.
        """
        method, _, headers, body = self.request
        if method != "POST":
            return bearer_token(headers.get("authorization"))
        request = json_object(body, headers.get("content-type"), TokenRequest)
        return checked_body_token(request.token)
