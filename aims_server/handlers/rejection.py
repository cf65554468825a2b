"""Answers requests that reach no handler because their head is too large to parse."""

from ..errors import ApiError
from ..pages import NOT_FOUND
from ..web import closing_message, header_values, request_id
from .context import HandlerContext
from .exchange import Exchange

__all__ = ["reject"]


def reject(context: HandlerContext, failure: ApiError, peer: str, head: bytes) -> bytes:
    """Count and log a request whose head is too large; ``head`` is what has arrived of
    it. Return the bytes of the answer.
    """
    exchange = Exchange(
        context,
        NOT_FOUND,
        request_id(",".join(header_values(head, "X-Request-Id"))),
        context.address_of(peer, header_values(head, "X-Forwarded-For")),
        lambda: 0.0,
    )
    exchange.error_code = failure.code
    exchange.answering("", failure.status)
    exchange.answered("", "", failure.status)
    origin = ",".join(header_values(head, "Origin"))
    return closing_message(failure, exchange.request_id, context.cors.lines(origin))
