"""Answers requests that reach no handler because their head is too large to parse."""

from ..errors import ApiError
from ..pages import NOT_FOUND
from ..web import closing_message, header_values, request_id
from .context import HandlerContext

__all__ = ["reject"]


def reject(context: HandlerContext, failure: ApiError, peer: str, head: bytes) -> bytes:
    """Count and log a request whose head is too large; ``head`` is what has arrived of
    it. Return the bytes of the answer.
    """
    identity = request_id(",".join(header_values(head, "X-Request-Id")))
    context.metrics.request_started()
    context.metrics.request_finished(NOT_FOUND.name, "OTHER", failure.status, 0.0)
    context.access_log.write(
        route=NOT_FOUND.name,
        method="",
        path="",
        status=failure.status,
        seconds=0.0,
        request_id=identity,
        address=context.address_of(peer, header_values(head, "X-Forwarded-For")),
        code=failure.code,
    )
    origin = ",".join(header_values(head, "Origin"))
    return closing_message(failure, identity, context.cors.lines(origin))
