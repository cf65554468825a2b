"""What was done for one request beyond one call for each answer."""

from contextvars import ContextVar
from typing import Final

from msgspec import Struct

__all__ = ["CallTally", "call_tally"]


class CallTally(Struct):
    """The counts of one context: of the task that sets it and of all that it starts.

    >>> call_tally.set(CallTally()) and None
    >>> call_tally.get().hedges
    0
    """

    hedges: int = 0


call_tally: Final[ContextVar[CallTally | None]] = ContextVar("call_tally", default=None)
