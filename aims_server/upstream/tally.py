"""What was done for one request beyond one call for each answer."""

from contextvars import ContextVar
from typing import Final

__all__ = ["CallTally", "call_tally"]


class CallTally:
    """The counts of one context: of the task that sets it and of all that it starts.

    >>> call_tally.set(CallTally()) and None
    >>> call_tally.get().hedges
    0
    """

    __slots__ = ("hedges",)

    def __init__(self) -> None:
        self.hedges = 0


call_tally: Final[ContextVar[CallTally | None]] = ContextVar("call_tally", default=None)
