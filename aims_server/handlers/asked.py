"""A request in its simplest form, with what every answer to it needs."""

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

__all__ = ["Asked"]


class Asked(msgspec.Struct, frozen=True):
    """One request; ``params`` say whether its connection may be kept."""

    began: float
    request: SimpleRequest
    address: str
    request_id: str
    params: HTTP1ConnectionParameters

    def seconds(self) -> float:
        """How long ago it was read."""
        return time.perf_counter() - self.began

    @property
    def last(self) -> bool:
        """Whether the connection ends with the answer, as things stand now."""
        return self.params.no_keep_alive or self.request[2].get("connection") == "close"

    @property
    def accept_encoding(self) -> str | None:
        """By which the form of an answer is chosen."""
        return self.request[2].get("accept-encoding")

    def negotiated(self, answer: Answer) -> tuple[int, Variant]:
        """Status and form of an answer for it."""
        method, _, headers, _ = self.request
        return negotiate(
            answer,
            method,
            self.accept_encoding,
            headers.get("if-none-match"),
        )

    def token(self) -> str:
        """The token, read as a page's handler does; raises :class:`Unauthorized` or
        :class:`InvalidRequest`, or what else is wrong with the body, which is never too
        large or compressed in a simple request.
        """
        method, _, headers, body = self.request
        if method != "POST":
            return bearer_token(headers.get("authorization"))
        request = json_object(body, headers.get("content-type"), TokenRequest)
        return checked_body_token(request.token)
