"""A call as the resilience policy has it: what makes it, for whom, until when; and its
observer.
"""

from collections.abc import Awaitable
from typing import Generic, Protocol, TypeVar

from ..deadline import Deadline
from .callers import CallerKey

__all__ = ["Attempt", "Call", "CallObserver"]

Result = TypeVar("Result")
Made = TypeVar("Made", covariant=True)


class Attempt(Protocol[Made]):
    """Makes one call."""

    def __call__(self, seconds: float, *, apart: bool) -> Awaitable[Made]:
        """The result of a call of at most ``seconds``. One ``apart`` shares no
        connection with a call that is under way, since that one is late.
        """


class CallObserver(Protocol):
    """Observes calls: metrics, in production."""

    def call_finished(self, endpoint: str, outcome: str, seconds: float) -> None:
        """One call to the platform ended; ``outcome`` is "ok" or an error's code."""

    def call_repeated(self, endpoint: str) -> None:
        """A call is made once more."""

    def call_hedged(self, endpoint: str, end: str) -> None:
        """A late call got another one beside it (``end`` is "started"), or that one was
        answered first ("won").
        """


class Call(Generic[Result]):
    """An endpoint to be called, for whom, and until when."""

    __slots__ = ("attempt", "caller", "deadline", "endpoint", "repeatable")

    def __init__(
        self,
        endpoint: str,
        caller: CallerKey,
        attempt: Attempt[Result],
        deadline: Deadline,
        *,
        repeatable: bool,
    ) -> None:
        self.endpoint = endpoint
        self.caller = caller
        self.attempt = attempt
        self.deadline = deadline
        self.repeatable = repeatable
