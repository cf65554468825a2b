"""The bytes of answers that are written without Tornado."""

from typing import Final

from ..web import AnswerParts, Response, Variant, header_lines
from .asked import Asked
from .exchange import Exchange
from .raw_head import RawHeads

__all__ = ["RawAnswers"]

_VARY: Final = "Vary: Origin\r\n"


class RawAnswers:
    """Puts answers together, as Tornado would write those of a handler."""

    def __init__(self) -> None:
        self._heads = RawHeads()

    def variant(
        self, asked: Asked, status: int, variant: Variant, varying: str
    ) -> AnswerParts:
        """The form of a page that a request gets; ``varying`` are the lines of headers
        that differ from one answer to the next.
        """
        last = asked.last
        head = self._heads.make(status, variant.lines(status) + varying, last=last)
        if asked.request[0] == "HEAD" or status == 304:
            return (head,), last
        return (head, variant.body), last

    def whole(
        self, asked: Asked, exchange: Exchange, response: Response
    ) -> AnswerParts:
        """An answer that is composed for this request alone, which ends with it."""
        method, path, headers, _ = asked.request
        lines = (
            f"{header_lines(response.headers)}Content-Length: {len(response.body)}\r\n"
            f"{_VARY}{exchange.header_lines(headers.get('origin'))}"
        )
        last = asked.last
        head = self._heads.make(response.status, lines, last=last)
        exchange.answering(method, response.status)
        exchange.answered(method, path, response.status)
        return ((head,) if method == "HEAD" else (head, response.body)), last
