"""Reads replies: checks and decodes them, and checks that they name the asker."""

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from ..errors import UpstreamError, WrongAnswer
from ..primitives import SerialExecutor
from .answers import BadShape, Note, Oddities, is_of_another_endpoint
from .transport import Reply
from .verdicts import checked_body

__all__ = ["AnswerReader", "Confirm", "anyone"]

_LARGE_BODY: Final = 128 * 1024  # bytes, for which decoding takes half a millisecond

Decoded = TypeVar("Decoded")

Confirm: TypeAlias = Callable[[Decoded], object]
"""Raises :class:`WrongStudent` for an answer that names another student."""


def anyone(_: object) -> None:
    """A `Confirm` that accepts every answer."""


class AnswerReader:
    """Checks, decodes and confirms replies; counts the oddities of usable ones."""

    def __init__(self, oddities: Oddities, executor: SerialExecutor) -> None:
        self._oddities = oddities
        self._executor = executor

    async def read(
        self,
        endpoint: str,
        reply: Reply,
        decode: Callable[[bytes, Note], Decoded],
        confirm: Confirm[Decoded],
    ) -> Decoded:
        """The decoded body; a large one is decoded in a turn of its own.

        Raises what `checked_body` and ``confirm`` raise, :class:`WrongAnswer` if the
        body is another endpoint's, and :class:`UpstreamError` if ``decode``
        cannot read it.
        """
        body = checked_body(reply, of_records=endpoint == "cards")
        if is_of_another_endpoint(endpoint, body):
            raise WrongAnswer from BadShape("an answer of another endpoint")
        notes = self._oddities.notes(endpoint)
        try:
            if len(body) < _LARGE_BODY:
                decoded = decode(body, notes)
            else:
                decoded = await self._executor.run(lambda: decode(body, notes))
        except BadShape as fault:
            raise UpstreamError from fault
        notes.report()  # only now: an answer that fails altogether has no oddity
        confirm(decoded)
        return decoded
