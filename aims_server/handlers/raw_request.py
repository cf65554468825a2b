"""A simple request, with what every answer to it needs."""

import time

import msgspec
from tornado.http1connection import HTTP1ConnectionParameters

from ..web import (
    Answer,
    TokenRequest,
    Variant,
    bearer_token,
    checked_body_token,
    json_object,
    negotiate,
)

__all__ = ["RawRequest"]


class RawRequest(msgspec.Struct, frozen=True):
    """One request of the fast path, its ``headers`` by lower-case name. ``began`` is by
    ``time.perf_counter``; ``params`` say whether the connection may stay open.
    """

    began: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    address: str
    request_id: str
    params: HTTP1ConnectionParameters

    def seconds(self) -> float:
        """Seconds since the request was read."""
        return time.perf_counter() - self.began

    @property
    def last(self) -> bool:
        """Whether the connection closes after the answer, as things stand now."""
        return self.params.no_keep_alive or self.headers.get("connection") == "close"

    @property
    def accept_encoding(self) -> str | None:
        """The header ``Accept-Encoding``."""
        return self.headers.get("accept-encoding")

    def negotiated(self, answer: Answer) -> tuple[int, Variant]:
        """The status, and the form of ``answer`` that this request gets."""
        return negotiate(
            answer,
            self.method,
            self.accept_encoding,
            self.headers.get("if-none-match"),
        )

    def token(self) -> str:
        """The token, read as a page's handler reads it.

        Raises :class:`ApiError` for a token or a body that cannot be read. A simple
        request's body is never too large or compressed.
        """
        if self.method != "POST":
            return bearer_token(self.headers.get("authorization"))
        content_type = self.headers.get("content-type")
        request = json_object(self.body, content_type, TokenRequest)
        return checked_body_token(request.token)
