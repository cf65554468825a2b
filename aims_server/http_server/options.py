"""The options that all connections of a listener have in common."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from tornado.http1connection import HTTP1ConnectionParameters
from tornado.httputil import HTTPServerConnectionDelegate

from ..errors import ApiError
from ..web import AnswerParts, SimpleRequest
from .write_batch import WriteBatch

__all__ = ["ConnectionOptions", "PendingParts", "Responder"]


class PendingParts(Protocol):
    """An answer that has to be waited for."""

    def make(self) -> Awaitable[AnswerParts]:
        """The answer; awaited once, in a task of its own."""

    def client_left(self) -> object:
        """The client has closed its side of the connection, or it is lost."""


class Responder(Protocol):
    """Answers requests without Tornado: the fast path."""

    def answer(
        self, request: SimpleRequest, peer: str, *, params: HTTP1ConnectionParameters
    ) -> AnswerParts | PendingParts | None:
        """The answer's parts and whether the connection closes after it; or what makes
        them, if that has to wait; or None to leave the request to Tornado.

        ``peer`` is the address of the socket's other end. ``params`` are read when the
        head is made: they say whether the connection may stay open.
        """


class ConnectionOptions(msgspec.Struct, frozen=True):
    """The options of a listener's connections.

    ``arrival_seconds`` and ``clock`` are those of `Timeouts`. ``reject`` makes the
    answer to a request that does not reach ``application``, from its fault, the peer's
    address, and the bytes that have arrived.
    """

    application: HTTPServerConnectionDelegate
    params: HTTP1ConnectionParameters
    fast_path: Responder | None
    write_batch: WriteBatch
    arrival_seconds: float
    reject: Callable[[ApiError, str, bytes], bytes]
    clock: Callable[[], float]
