"""Counts and logs requests that reach no handler, because their head is not parsed."""

from ..errors import ApiError
from ..pages import NOT_FOUND
from .context import HandlerContext

__all__ = ["Rejections"]


class Rejections:
    """Tells metrics and log of a request whose head is too large."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context

    def record(self, failure: ApiError, peer: str, request_id: str) -> None:
        """A request was answered with ``failure``; its method and path are unknown."""
        metrics = self._context.metrics
        metrics.request_started()
        metrics.request_finished(NOT_FOUND.name, "OTHER", failure.status, 0.0)
        self._context.access_log.write(
            route=NOT_FOUND.name,
            method="",
            path="",
            status=failure.status,
            seconds=0.0,
            request_id=request_id,
            address=peer,
            code=failure.code,
        )
